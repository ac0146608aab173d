"""TensorBoard: a run's curve."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import Visit


def drive(visit: Visit) -> None:
    with visit.page(*_FONTS) as page:
        page.goto(visit.url)
        page.wait_for_url(f"{visit.url}/*")
        page.get_by_text("loss", exact=True).first.wait_for()
        page.get_by_text("first", exact=True).first.wait_for()
        page.locator("scalar-card svg, scalar-card canvas").first.wait_for()


_FONTS = (r"\.woff2",)

APPLICATION = Application(
    name="tensorboard",
    title="TensorBoard",
    requirements=("tensorboard==2.21.0", "setuptools==80.9.0"),
    command="sh -c 'python tensorboard_data.py && exec tensorboard --logdir runs --port {port} {options}'",
    port=6006,
    drive=drive,
    does="open the page at the address without a slash at its end, see a run and its curve",
    situations={
        Situation.ROOT: Lines("It needs nothing."),
        Situation.PREFIX: Lines(
            "As it is, with the prefix taken off: its page goes by the address that the browser shows, and "
            "browsers that "
            "ask for the bare prefix are sent to that with a slash."
        ),
        Situation.TLS: Lines("It needs nothing."),
        Situation.TWO: Lines("Both read the same files: no lines are needed for it."),
    },
)
