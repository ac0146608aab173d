#!/usr/bin/env bash
# Channels 4.3.2 with Django 5.2.19: FORCE_SCRIPT_NAME moves the routes of HTTP, and those of WebSockets stay.
#
# Behind a prefix that a proxy leaves in the path, FORCE_SCRIPT_NAME = "/site" has Django take it off: ASGIRequest's
# path_info is the path without it. Channels' URLRouter, in the same application and for the same path, takes off what
# the server says in scope["root_path"] and knows nothing of the setting: "No route found for path", and the handshake
# fails, while pages, redirects and the admin all work. With root_path from the server (uvicorn --root-path /site, the
# proxy taking the prefix off) both find their routes.
#
# Source: run it: django/core/handlers/asgi.py, get_script_prefix; channels/routing.py, URLRouter.__call__. It sends one
# HTTP request and one WebSocket handshake to one application, prints what became of them, and fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --disable-pip-version-check -qq install django==5.2.19 channels==4.3.2
cat > ask.py <<'PYTHON'
import asyncio
import sys

import django
from django.conf import settings

forced = sys.argv[1] or None
settings.configure(ALLOWED_HOSTS=["*"], FORCE_SCRIPT_NAME=forced, ROOT_URLCONF=__name__, SECRET_KEY="x", MIDDLEWARE=[])
django.setup()

from asgiref.testing import ApplicationCommunicator
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("page/", lambda request: HttpResponse(b"page"))]
sockets = URLRouter([path("echo/", AsyncWebsocketConsumer.as_asgi())])
application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": sockets})


def scope(kind, path, root_path):
    own = {"type": kind, "path": path, "root_path": root_path, "query_string": b"", "headers": [(b"host", b"a")]}
    return {**own, "method": "GET", "scheme": "http", "http_version": "1.1", "subprotocols": []}


async def page(root_path):
    asked = ApplicationCommunicator(application, scope("http", "/site/page/", root_path))
    await asked.send_input({"type": "http.request", "body": b""})
    return (await asked.receive_output(5))["status"]


async def socket(root_path):
    asked = ApplicationCommunicator(application, scope("websocket", "/site/echo/", root_path))
    await asked.send_input({"type": "websocket.connect"})
    try:
        return (await asked.receive_output(5))["type"].removeprefix("websocket.")
    except ValueError as error:
        return str(error)


async def main():
    print(await page(sys.argv[2]), await socket(sys.argv[2]), sep=", ")


asyncio.run(main())
PYTHON
forced=$(venv/bin/python ask.py /site "")
by_server=$(venv/bin/python ask.py "" /site)
echo "FORCE_SCRIPT_NAME: page and WebSocket: $forced"
echo "root_path of the server: page and WebSocket: $by_server"
[[ $forced == "200, No route found for path"* && $by_server == "200, accept" ]]
