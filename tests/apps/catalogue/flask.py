"""Flask under gunicorn: a login, an upload, a download, redirects."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import MEGABYTES_12, Visit


def drive(visit: Visit) -> None:
    with visit.page("/favicon") as page:
        page.goto(f"{visit.url}/dir")
        assert page.url == f"{visit.url}/dir/", page.url

        page.goto(f"{visit.url}/")
        page.wait_for_url(f"{visit.url}/login")
        page.locator("input").fill("anna")
        page.get_by_role("button").click()
        page.wait_for_url(f"{visit.url}/")
        assert page.title() == "hello anna"
        here = page.locator("#here").inner_text()
        assert here == f"{visit.url}/", here

        with page.expect_download() as download:
            page.get_by_text("download").click()
        assert download.value.path().stat().st_size == 3_000_000

        page.locator("input").set_input_files(MEGABYTES_12)
        page.get_by_role("button", name="send").click()
        page.wait_for_url(f"{visit.url}/upload")
        assert page.title() == "12000000 bytes"


_LARGE = "body_size: 100MiB"

APPLICATION = Application(
    name="flask",
    title="Flask",
    requirements=("flask==3.1.3", "gunicorn==27.0.1"),
    command="gunicorn --bind 127.0.0.1:{port} --threads 4 flask_app:app",
    port=8000,
    drive=drive,
    does="a login, the redirect of a missing slash, the URL that it writes of itself, a download, an upload of 12 MB",
    ready="/dir/",
    situations={
        Situation.ROOT: Lines("`body_size` is for uploads over 10 MiB, which get 413 without it.", service=_LARGE),
        Situation.PREFIX: Lines(
            "In the application: `app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, "
            "x_prefix=1)`, which reads the prefix "
            "from `X-Forwarded-Prefix`. Without it the form of the login is sent to `/login`, outside the prefix.",
            service=_LARGE,
        ),
        Situation.TLS: Lines("As at the root of a host; `ProxyFix` reads the scheme too.", service=_LARGE),
        Situation.TWO: Lines(
            "Sessions are in a signed cookie: every instance with the same `secret_key` knows them.", service=_LARGE
        ),
    },
)
