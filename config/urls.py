from csp.decorators import csp
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.decorators.http import require_safe
from django.views.i18n import JavaScriptCatalog
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config.security import page_headers
from polls.api.problems import unknown_address

# The split view needs no inline script. The split view fails on methods other than GET and HEAD.
docs = require_safe(SpectacularSwaggerSplitView.as_view(url_name="schema"))
urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", csp(page_headers.DOCS)(docs), name="docs"),
    path("jsi18n/", JavaScriptCatalog.as_view(), name="jsi18n"),
    path("", include("polls.api.urls")),
    path("", include("analytics.urls")),
    path("", include("realtime.pages.urls")),
    path("", include("polls.pages.urls")),
    re_path(r"^api/(?P<rest>.*)$", unknown_address),  # last: JSON 404 for unknown API addresses
]
handler400 = "polls.api.problems.bad_request"
handler404 = "polls.api.problems.page_not_found"
handler500 = "polls.api.problems.server_error"
