"""Panel, on Bokeh's server: widgets over a WebSocket, an upload, a download."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import MEGABYTES_12, Visit


def drive(visit: Visit) -> None:
    with visit.page("/favicon") as page:
        page.goto(f"{visit.url}/panel_app")
        page.get_by_text("counted 0").wait_for()
        for number in (1, 2):
            page.get_by_role("button", name="count").click()
            page.get_by_text(f"counted {number}").wait_for()
        page.locator("input[type=file]").set_input_files(MEGABYTES_12)
        page.get_by_text("12000000 bytes").wait_for()
        with page.expect_download() as download:
            page.get_by_text("download").click()
        assert download.value.path().stat().st_size == 3_000_000


APPLICATION = Application(
    name="panel",
    title="Panel and Bokeh",
    requirements=("panel==1.9.4", "bokeh==3.9.2"),
    command="panel serve panel_app.py --port {port}",
    port=5006,
    drive=drive,
    does="click a button whose count is the session's, upload 12 MB, download",
    situations={
        Situation.ROOT: Lines(
            "It needs nothing: `Host` is the client's, as the origin of the WebSocket is, and all bytes go over that."
        ),
        Situation.PREFIX: Lines(
            "As it is, with the prefix taken off: its page goes by the address that the browser shows."
        ),
        Situation.TLS: Lines("As at the root of a host."),
        Situation.TWO: Lines(
            "A session begins with the WebSocket, and all that belongs to it goes over that: no lines are "
            "needed for it."
        ),
    },
)
