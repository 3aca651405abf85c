"""The web process: Django's pages over HTTP, the classroom's sockets over WebSocket."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
pages = get_asgi_application()

from meetings.routing import websocket_urlpatterns  # noqa: E402  needs the apps to be loaded
from recordings.live.serve import LiveFiles  # noqa: E402

application = ProtocolTypeRouter({"http": LiveFiles(pages), "websocket": URLRouter(websocket_urlpatterns)})
