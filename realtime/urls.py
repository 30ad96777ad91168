from django.urls import path

from . import views

app_name = "realtime"

urlpatterns = [
    path("p/<str:code>/results/", views.results, name="results"),
    path("p/<str:code>/present/", views.present, name="present"),
]
