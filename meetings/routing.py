"""The sockets' addresses."""

from django.urls import path

from meetings.socket import RoomSocket

websocket_urlpatterns = [path("ws/meetings/<slug:code>/", RoomSocket.as_asgi())]
