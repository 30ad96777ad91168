from django.urls import path

from . import api, audit_api

urlpatterns = [
    path("api/v1/polls/<str:code>/tally/", api.TallyView.as_view(), name="tally"),
    path("api/v1/polls/<str:code>/audit/", audit_api.AuditView.as_view(), name="audit"),
    path("api/v1/audit-key/", audit_api.AuditKeyView.as_view(), name="audit-key"),
    path("healthz", api.healthz, name="healthz"),
    path("readyz", api.readyz, name="readyz"),
    path("metrics", api.metrics, name="metrics"),
]
