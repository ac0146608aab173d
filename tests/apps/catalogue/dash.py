"""Dash under gunicorn: callbacks, an upload, a download."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import MEGABYTES_12, Visit


def drive(visit: Visit) -> None:
    with visit.page("/favicon") as page:
        page.goto(f"{visit.url}/")
        page.get_by_text("counted 0").wait_for()
        page.get_by_role("button", name="count").click()
        page.get_by_text("counted 1").wait_for()
        page.locator("input[type=file]").set_input_files(MEGABYTES_12)
        page.get_by_text("big.csv: 12000000 bytes").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="download").click()
        assert download.value.path().stat().st_size == 3_000_000


_LARGE = "body_size: 100MiB"

APPLICATION = Application(
    name="dash",
    title="Dash",
    requirements=("dash==4.4.1", "gunicorn==27.0.1"),
    command="gunicorn --bind 127.0.0.1:{port} --threads 4 dash_app:server",
    port=8050,
    drive=drive,
    does="a callback, an upload of 12 MB, a download",
    ready="/_dash-layout",
    situations={
        Situation.ROOT: Lines(
            "Uploads are base64 in JSON: without `body_size` 413 comes from 7.5 MB on, of which the page says nothing.",
            service=_LARGE,
        ),
        Situation.PREFIX: Lines(
            "The path arrives without its prefix, which `requests_pathname_prefix` puts into all that the page "
            "asks for. "
            'Without it the page asks outside the prefix, and stays at "Loading…".',
            service=_LARGE,
            environment={"DASH_REQUESTS_PATHNAME_PREFIX": "/dash/"},
        ),
        Situation.TLS: Lines("As at the root of a host.", service=_LARGE),
        Situation.TWO: Lines("Nothing is kept in one instance: no lines are needed for it.", service=_LARGE),
    },
)
