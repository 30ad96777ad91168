from django.urls import path

from analytics.api import audit, quarantine, tally
from analytics.pages import earlier_rounds, receipt

QUARANTINES = "api/v1/polls/<str:code>/quarantines/"

urlpatterns = [
    path("api/v1/polls/<str:code>/tally/", tally.TallyView.as_view(), name="tally"),
    path("api/v1/polls/<str:code>/audit/", audit.AuditView.as_view(), name="audit"),
    path("api/v1/audit-key/", audit.AuditKeyView.as_view(), name="audit-key"),
    path(QUARANTINES, quarantine.Quarantines.as_view(), name="quarantines"),
    path(f"{QUARANTINES}<int:decision>/end/", quarantine.QuarantineEnd.as_view(), name="quarantine-end"),
    path(
        f"{QUARANTINES}<int:decision>/release/",
        quarantine.QuarantineRelease.as_view(),
        name="quarantine-release",
    ),
    path("p/<str:code>/receipt/", receipt.receipt, name="receipt-page"),
    path("p/<str:code>/rounds/", earlier_rounds.earlier_rounds, name="earlier-rounds"),
    path("healthz", tally.healthz, name="healthz"),
    path("readyz", tally.readyz, name="readyz"),
    path("metrics", tally.metrics, name="metrics"),
]
