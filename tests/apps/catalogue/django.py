"""Django with Channels under uvicorn: the admin, an upload, a WebSocket."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import MEGABYTES_12, Visit


def drive(visit: Visit) -> None:
    with visit.page("/favicon") as page:
        page.goto(f"{visit.url}/admin")
        assert page.url == f"{visit.url}/admin/login/?next={page.url.partition('next=')[2]}", page.url
        page.locator("#id_username").fill("anna")
        page.locator("#id_password").fill("secret")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{visit.url}/admin/")
        page.locator("#content-main").get_by_role("link", name="Groups").click()
        page.get_by_role("link", name="Add group").last.click()
        name = f"editors {id(page)}"
        page.locator("#id_name").fill(name)
        page.get_by_role("button", name="Save", exact=True).click()
        page.wait_for_url(f"{visit.url}/admin/auth/group/")
        page.locator("#result_list").get_by_text(name).wait_for()

        page.goto(f"{visit.url}/upload")
        page.locator("input[type=file]").set_input_files(MEGABYTES_12)
        page.get_by_role("button", name="send").click()
        page.wait_for_url(f"{visit.url}/uploaded/12000000")

        page.goto(f"{visit.url}/chat")
        page.wait_for_function("document.title === 'connected'")
        page.locator("#text").fill("hello")
        page.locator("#text").press("Enter")
        page.get_by_text("echo of hello").wait_for()


_LARGE = "body_size: 100MiB"
_HOST = {"ALLOWED_HOSTS": "{host}"}

APPLICATION = Application(
    name="django",
    title="Django with Channels",
    requirements=("django==5.2.19", "channels==4.3.2", "uvicorn==0.54.0", "websockets==17.4"),
    command="sh -c 'python django_site.py && exec uvicorn django_site:application --port {port} {options}'",
    port=8000,
    drive=drive,
    does="log in to the admin, add a group, a form that uploads 12 MB, a WebSocket whose origin is checked",
    ready="/chat",
    situations={
        Situation.ROOT: Lines(
            "`ALLOWED_HOSTS` is asked about the client's `Host`, and about the origin of WebSockets: any other "
            "gets 400, or 403. `body_size` is for uploads over 10 MiB.",
            service=_LARGE,
            environment=_HOST,
        ),
        Situation.PREFIX: Lines(
            "The path arrives without its prefix. `--root-path` puts it in front again and tells Django and "
            "Channels; without it the forms of the admin are at `/admin/`, outside the "
            "prefix. The setting `FORCE_SCRIPT_NAME` is for `STATIC_URL`, which Django settles before the first "
            "request. (`FORCE_SCRIPT_NAME` alone, with `rewrite: keep`, does "
            "for Django, but Channels then finds none of its routes.)",
            service=_LARGE,
            options="--root-path /django",
            environment={**_HOST, "FORCE_SCRIPT_NAME": "/django"},
        ),
        Situation.TLS: Lines(
            "As at the root of a host: uvicorn takes the scheme from `X-Forwarded-Proto`, from this machine or "
            "`--forwarded-allow-ips`. A server that does not needs the setting `SECURE_PROXY_SSL_HEADER`, or "
            "the origin "
            "`https://…` is not what Django takes for its own, and every form gets 403.",
            service=_LARGE,
            environment=_HOST,
        ),
        Situation.TWO: Lines(
            "Sessions are in the database that both share. The layers of Channels need one too (Redis), for "
            "messages from one client to another.",
            service=_LARGE,
            environment=_HOST,
        ),
    },
)
