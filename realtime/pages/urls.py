from django.urls import path

from realtime.connections import event_stream_schema
from realtime.pages import views

app_name = "realtime"

urlpatterns = [
    path("api/v1/polls/<str:code>/stream/", event_stream_schema.StreamView.as_view(), name="stream"),
    path("p/<str:code>/results/", views.results, name="results"),
    path("p/<str:code>/present/", views.present, name="present"),
]
