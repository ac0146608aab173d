"""FastAPI: its documentation, a login by OAuth 2, redirects, an upload, a WebSocket."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import MEGABYTES_12, Visit


def drive(visit: Visit) -> None:
    with visit.page(r"/favicon") as page:
        page.goto(f"{visit.url}/docs")
        page.locator(".btn.authorize").first.click()
        page.locator("#oauth_username").fill("anna")
        page.locator("#oauth_password").fill("secret")
        page.locator(".auth-btn-wrapper .authorize").click()
        page.locator(".auth-btn-wrapper .btn-done").click()
        page.get_by_role("button", name="GET /me Me", exact=False).first.click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.locator(".live-responses-table .response-col_status", has_text="200").wait_for()

        page.goto(f"{visit.url}/items")
        assert page.url == f"{visit.url}/items/", page.url

        page.goto(f"{visit.url}/form")
        page.locator("input").set_input_files(MEGABYTES_12)
        page.get_by_role("button", name="send").click()
        page.wait_for_url(f"{visit.url}/uploaded/12000000")

        page.goto(f"{visit.url}/chat")
        page.wait_for_function("document.title === 'connected'")
        if visit.situation is Situation.ROOT:
            visit.replace_workers()
            page.wait_for_function("document.title === 'closed 1012'")
            page.wait_for_function("document.title === 'connected'")
        page.locator("#text").fill("hello")
        page.locator("#text").press("Enter")
        page.get_by_text("echo of hello").wait_for()


APPLICATION = Application(
    name="fastapi",
    title="FastAPI",
    requirements=(
        "fastapi==0.165.0",
        "uvicorn==0.54.0",
        "python-multipart==0.0.34",
        "websockets==17.4",
        "fastapi-offline==1.7.7",
    ),
    command="uvicorn fastapi_app:app --port {port}",
    port=8000,
    drive=drive,
    does="Authorize and Execute in `/docs`, the redirect of a missing slash, a form that uploads 12 MB, a "
    "WebSocket that comes back when workers are replaced",
    ready="/items/",
    situations={
        Situation.ROOT: Lines(
            "`body_size` is for uploads over 10 MiB, which get 413 without it.", service="body_size: 100MiB"
        ),
        Situation.PREFIX: Lines(
            "The path arrives without its prefix; `--root-path` puts it in front again. Without that, `/docs` "
            "asks for `/openapi.json` and the form is sent on to `/uploaded`, both outside the prefix.",
            service="body_size: 100MiB",
            options="--root-path /fastapi",
        ),
        Situation.TLS: Lines(
            "As at the root of a host: uvicorn takes the scheme from `X-Forwarded-Proto`, from this machine or "
            "`--forwarded-allow-ips`.",
            service="body_size: 100MiB",
        ),
        Situation.TWO: Lines(
            "Nothing is kept in one instance: no lines are needed for it.", service="body_size: 100MiB"
        ),
    },
)
