"""marimo: a notebook served as an application."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import MEGABYTES_12, Visit


def drive(visit: Visit) -> None:
    with visit.page("/favicon") as page:
        page.goto(f"{visit.url}/")
        page.get_by_text("counted 0").wait_for()
        for number in (1, 2):
            page.get_by_role("button", name="count").last.click()
            page.get_by_text(f"counted {number}").wait_for()
        page.locator("input[type=file]").last.set_input_files(MEGABYTES_12)
        page.get_by_text("12000000 bytes").wait_for()
        with page.expect_download() as download:
            page.get_by_text("download").click()
        assert download.value.path().stat().st_size == 3_000_000


_LARGE = "body_size: 100MiB"

APPLICATION = Application(
    name="marimo",
    title="marimo",
    requirements=("marimo==0.25.2",),
    command="marimo run marimo_app.py --port {port} --headless --no-token",
    port=2718,
    drive=drive,
    does="click a button whose count is the session's, upload 12 MB, download",
    situations={
        Situation.ROOT: Lines(
            "Uploads are base64 in JSON: from 7.5 MB on they get 413 without `body_size`.", service=_LARGE
        ),
        Situation.PREFIX: Lines(
            "As it is, with the prefix taken off: its page goes by the address that the browser shows.", service=_LARGE
        ),
        Situation.TLS: Lines("As at the root of a host.", service=_LARGE),
        Situation.TWO: Lines(
            "A page's WebSocket and its requests belong to a session in one instance. Without `sticky` a click "
            "that comes "
            "to the other one gets 401, and nothing happens.",
            service=f"sticky: {{cookie: auto}}\n{_LARGE}",
        ),
    },
)
