"""Gradio: functions, streams of results, an upload; by a browser and by its own client."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import MEGABYTES_12, Visit


def drive(visit: Visit) -> None:
    with visit.page("/gradio_api/mcp/schema", "manifest.json") as page:
        page.goto(f"{visit.url}/")
        page.get_by_label("name", exact=True).fill("anna")
        page.get_by_role("button", name="greet").click()
        page.wait_for_function("[...document.querySelectorAll('textarea')].some(each => each.value === 'hello anna')")
        page.get_by_role("button", name="run").click()
        page.wait_for_function("[...document.querySelectorAll('textarea')].some(each => each.value === 'step 3')")
        page.locator("input[type=file]").set_input_files(MEGABYTES_12)
        page.wait_for_function(
            "[...document.querySelectorAll('textarea')].some(each => each.value === '12000000 bytes')"
        )
    visit.client("gradio_user.py")


_LARGE = "body_size: 1GiB"

APPLICATION = Application(
    name="gradio",
    title="Gradio",
    requirements=("gradio==6.31.0",),
    command="python gradio_app.py",
    environment={"GRADIO_SERVER_PORT": "{port}", "GRADIO_ANALYTICS_ENABLED": "False"},
    port=7860,
    drive=drive,
    does="call a function, one that streams its results, upload 12 MB, in a browser; the first two by `gradio_client`",
    situations={
        Situation.ROOT: Lines(
            "Gradio bounds no uploads by itself; over 10 MiB they get 413 without `body_size`.", service=_LARGE
        ),
        Situation.PREFIX: Lines(
            "It takes its address from `X-Forwarded-Host` and `-Proto`, and its prefix from `GRADIO_ROOT_PATH`. "
            "Without "
            "that the page makes its calls outside the prefix: they get 404, and no button does anything.",
            service=_LARGE,
            environment={"GRADIO_ROOT_PATH": "/gradio"},
        ),
        Situation.TLS: Lines("As at the root of a host.", service=_LARGE),
        Situation.TWO: Lines(
            "Calls, their results and uploads are requests of their own, and belong to a session in one "
            "instance. Without `sticky` the results are asked of the other one.",
            service="sticky: {cookie: auto}\nbody_size: 1GiB",
        ),
    },
)
