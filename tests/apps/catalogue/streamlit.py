"""Streamlit: widgets over a WebSocket, an upload, a download."""

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


_LARGE = "body_size: 200MiB"

APPLICATION = Application(
    name="streamlit",
    title="Streamlit",
    requirements=("streamlit==1.67.0",),
    command="streamlit run streamlit_app.py --server.port {port} --server.headless true",
    environment={"STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false"},
    port=8501,
    drive=drive,
    does="click a button whose count is the session's, go on with it when workers are replaced, upload 12 MB, download",
    ready="/_stcore/health",
    situations={
        Situation.ROOT: Lines(
            "Streamlit admits uploads of 200 MB by itself; over 10 MiB they get 413 without `body_size`.",
            service=_LARGE,
        ),
        Situation.PREFIX: Lines(
            "As it is, with the prefix taken off: its page goes by the address that the browser shows.", service=_LARGE
        ),
        Situation.TLS: Lines("As at the root of a host.", service=_LARGE),
        Situation.TWO: Lines(
            "A session, and what it uploads and downloads, is in the memory of one instance. Without `sticky` "
            "uploads and downloads come to the other one, and get 4xx.",
            service="sticky: {cookie: auto}\nbody_size: 200MiB",
        ),
    },
)
