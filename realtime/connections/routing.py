from typing import Any

from django.urls import path

from realtime.connections.websocket import tally_socket

websocket_urlpatterns: list[Any] = [
    path("ws/polls/<str:code>/", tally_socket),  # type: ignore[arg-type]  # an ASGI application, as URLRouter takes
]
