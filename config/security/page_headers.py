"""Content Security Policy and Permissions-Policy of HTML pages.

Only text/html responses carry these headers. Other responses, such as the JSON of the fast lanes, need none:
they have a Content-Type and `nosniff`, so browsers don't show them as pages.
"""

from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

Policy = dict[str, Any]

#: Public pages load only files of this server. These pages have no inline scripts, event handlers or styles.
#: Since 2022, 'self' includes wss:// in every browser. In older browsers the pages poll the tally endpoint
#: instead.
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
    # Trusted Types: text can't become markup or a script, even if our code is wrong. The only Trusted Types
    # policy is that of static/js/proof/prover.js, which starts a worker from one of our files.
    "require-trusted-types-for": ["'script'"],
    "trusted-types": ["proof-worker"],
}

#: django-unfold uses style attributes. django-unfold also uses Alpine, which needs eval to compile
#: expressions in templates. Inline scripts stay forbidden.
ADMIN: Policy = {
    **{name: value for name, value in PUBLIC.items() if "trusted-types" not in name},
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
}

#: Swagger UI sets inline styles and has icons as data: URLs in its style sheet.
DOCS: Policy = {**ADMIN, "script-src": [SELF]}

#: Denies the features that no page uses. Allows fullscreen, copying and keeping the screen on. Contains only
#: names that browsers know. For an unknown name, such as bluetooth, Chromium logs a warning on each page.
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
