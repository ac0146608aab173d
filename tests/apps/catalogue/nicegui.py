"""NiceGUI: widgets over Socket.IO, an upload, a download, a second page."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import MEGABYTES_12, Visit


def drive(visit: Visit) -> None:
    with visit.page() as page:
        page.goto(f"{visit.url}/")
        page.get_by_text("counted 0").wait_for()
        for number in (1, 2):
            page.get_by_role("button", name="count").click()
            page.get_by_text(f"counted {number}").wait_for()
        if visit.situation is Situation.ROOT:
            visit.replace_workers()
            page.get_by_role("button", name="count").click()
            page.get_by_text("counted 3").wait_for()
        page.locator("input[type=file]").set_input_files(MEGABYTES_12)
        page.get_by_text("12000000 bytes").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="download").click()
        assert download.value.path().stat().st_size == 3_000_000
        page.get_by_text("second").click()
        page.get_by_text("stored").wait_for()
        assert page.url == f"{visit.url}/second"


_LARGE = "body_size: 100MiB"

APPLICATION = Application(
    name="nicegui",
    title="NiceGUI",
    requirements=("nicegui==3.18.0",),
    command="python nicegui_app.py",
    environment={"PORT": "{port}"},
    port=8080,
    drive=drive,
    does="click a button whose count is the session's, go on with it when workers are replaced, upload 12 MB, "
    "download, a link to another page",
    situations={
        Situation.ROOT: Lines(
            "Uploads over 10 MiB get 413 without `body_size`. `ui.run(reconnect_timeout=30)` has a session wait "
            "so long for its page to come back when "
            "workers are replaced; it is 3 s otherwise, and what the page sends then gets 404.",
            service=_LARGE,
        ),
        Situation.PREFIX: Lines(
            "It reads the prefix from `X-Forwarded-Prefix`. Its own `root_path` is to be left out: it would "
            "stand there twice.",
            service=_LARGE,
        ),
        Situation.TLS: Lines("As at the root of a host.", service=_LARGE),
        Situation.TWO: Lines(
            "A page, its WebSocket and its uploads are one session in one instance, and so is what the user has "
            "in `app.storage`. Without `sticky` the page loads itself over and over.",
            service=f"sticky: {{cookie: auto}}\n{_LARGE}",
        ),
    },
)
