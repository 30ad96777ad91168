from django.contrib import admin
from django.urls import include, path
from django.views.i18n import JavaScriptCatalog
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("jsi18n/", JavaScriptCatalog.as_view(), name="jsi18n"),
    path("", include("polls.api.urls")),
    path("", include("analytics.urls")),
    path("", include("realtime.urls")),
    path("", include("polls.urls")),
]
