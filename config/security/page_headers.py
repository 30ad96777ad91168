"""What browsers are told about our pages: where they may load from, who may frame them, what they may use.

Only pages (text/html) carry these headers. Nothing else is ever taken for one: answers say what they are,
with nosniff. So the fast lanes, which answer in JSON ahead of Django, have nothing to add.
"""

from __future__ import annotations

from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

Policy = dict[str, Any]

#: Everything comes from here, as files; no page of ours has a script, an event handler or a style in its
#: source. 'self' covers wss:// in every browser since 2022; in older ones the pages ask the tally endpoint.
PUBLIC: Policy = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF],
    "img-src": [SELF],
    "font-src": [SELF],
    "connect-src": [SELF],
    "form-action": [SELF],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
    # A text can't become markup or a script, whatever a page's own code does with it. The one policy is
    # static/js/proof/prover.js's, which starts its worker from a file of ours.
    "require-trusted-types-for": ["'script'"],
    "trusted-types": ["proof-worker"],
}

#: unfold is built on Alpine, which compiles the expressions in its templates (hence eval), and on style
#: attributes. Scripts in the source stay forbidden here too.
ADMIN: Policy = {
    **{name: value for name, value in PUBLIC.items() if "trusted-types" not in name},
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
}

#: Swagger UI sets styles, and has its icons in its style sheet.
DOCS: Policy = {**ADMIN, "script-src": [SELF]}

#: Nothing a vote needs. What a page of ours uses: fullscreen and copying; a screen that stays on. Only names
#: that browsers know: of any other (bluetooth) Chromium complains on each page.
PERMISSIONS = (
    "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), display-capture=(),"
    " encrypted-media=(), gamepad=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(),"
    " magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), serial=(), usb=(),"
    " xr-spatial-tracking=(), fullscreen=(self), clipboard-write=(self), screen-wake-lock=(self)"
)


class PageHeaders(CSPMiddleware):
    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.headers.get("Content-Type", "").startswith("text/html"):
            return response
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        return super().process_response(request, response)

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        match = request.resolver_match
        if not report_only and parts.config is None and match is not None and "admin" in match.app_names:
            parts.config = ADMIN
        return parts
