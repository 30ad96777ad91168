from django.urls import path

from analytics.api import api, audit_api, quarantine_api
from analytics.pages import earlier, views

QUARANTINES = "api/v1/polls/<str:code>/quarantines/"

urlpatterns = [
    path("api/v1/polls/<str:code>/tally/", api.TallyView.as_view(), name="tally"),
    path("api/v1/polls/<str:code>/audit/", audit_api.AuditView.as_view(), name="audit"),
    path("api/v1/audit-key/", audit_api.AuditKeyView.as_view(), name="audit-key"),
    path(QUARANTINES, quarantine_api.Quarantines.as_view(), name="quarantines"),
    path(f"{QUARANTINES}<int:decision>/end/", quarantine_api.QuarantineEnd.as_view(), name="quarantine-end"),
    path(
        f"{QUARANTINES}<int:decision>/release/",
        quarantine_api.QuarantineRelease.as_view(),
        name="quarantine-release",
    ),
    path("p/<str:code>/receipt/", views.receipt, name="receipt-page"),
    path("p/<str:code>/rounds/", earlier.earlier_rounds, name="earlier-rounds"),
    path("healthz", api.healthz, name="healthz"),
    path("readyz", api.readyz, name="readyz"),
    path("metrics", api.metrics, name="metrics"),
]
