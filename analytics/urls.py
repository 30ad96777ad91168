from django.urls import path

from . import api

urlpatterns = [
    path("api/v1/polls/<str:code>/tally/", api.TallyView.as_view(), name="tally"),
    path("healthz", api.healthz, name="healthz"),
    path("readyz", api.readyz, name="readyz"),
    path("metrics", api.metrics, name="metrics"),
]
