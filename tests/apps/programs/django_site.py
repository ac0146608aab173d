"""A site in one file: the admin, a form that uploads, and a WebSocket by Channels. Settings come from variables."""

import os
import pathlib

import django
from django.conf import settings

FOLDER = pathlib.Path(os.environ["SHARED"])
settings.configure(
    SECRET_KEY="the same in all instances",
    DEBUG=True,  # so that it serves its static files
    ALLOWED_HOSTS=os.environ.get("ALLOWED_HOSTS", "").split(","),
    FORCE_SCRIPT_NAME=os.environ.get("FORCE_SCRIPT_NAME"),
    ROOT_URLCONF=__name__,
    STATIC_URL="static/",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "channels",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "site.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib import admin
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path, re_path, reverse

CHAT = """<title>chat</title><input id=text><ul id=log></ul><script>
const url = new URL("echo/", location); url.protocol = url.protocol.replace("http", "ws");
const socket = new WebSocket(url);
socket.onopen = () => document.title = "connected";
socket.onclose = event => document.title = `closed ${event.code}`;
socket.onmessage = event => log.append(Object.assign(document.createElement("li"), {textContent: event.data}));
text.onchange = () => socket.send(text.value);
</script>"""


def upload(request):
    if request.method == "POST":
        return redirect("uploaded", size=len(request.FILES["file"].read()))
    return HttpResponse(
        f"""<title>upload</title><form method=post enctype=multipart/form-data action='{reverse("upload")}'>
<input type=hidden name=csrfmiddlewaretoken value={get_token(request)}>
<input type=file name=file><button>send</button></form>"""
    )


urlpatterns = [
    path("admin/", admin.site.urls),
    path("chat", lambda request: HttpResponse(CHAT)),
    path("upload", upload, name="upload"),
    path("uploaded/<int:size>", lambda request, size: HttpResponse(f"<title>{size} bytes</title>"), name="uploaded"),
]


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=f"echo of {text_data}")


application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(get_asgi_application()),
        "websocket": AllowedHostsOriginValidator(URLRouter([re_path(r"echo/$", Echo.as_asgi())])),
    }
)

if __name__ == "__main__":  # makes the database, once
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    if not User.objects.exists():
        User.objects.create_superuser("anna", "", "secret")
