"""The part of `docs/applications.md` that is written here: a table of what was run, and the lines that it ran by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from conformance.page import markdown

from .application import Application, Situation
from .applications import APPLICATIONS
from .outcome import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "applications.md"
TABLE = ("<!-- run: begin -->", "<!-- run: end -->")
RECIPES = ("<!-- recipes: begin -->", "<!-- recipes: end -->")
_HEAD = ["application", "versions", *(str(each) for each in Situation)]
_NOT_RUN = "not run yet"


def write(outcomes: Mapping[str, Outcome]) -> None:
    """The rows of these applications, and all recipes; other rows stay as they are."""
    text = PAGE.read_text()
    rows = rows_of(text)
    rows.update({name: _row(app, outcomes[name]) for name, app in _by_name().items() if name in outcomes})
    PAGE.write_text(rendered(text, rows))


def rendered(text: str, rows: Mapping[str, list[str]]) -> str:
    """The page with these rows, by names of applications."""
    table = [_HEAD, *(rows.get(app.name, [_link(app), "", *[_NOT_RUN] * 4]) for app in APPLICATIONS)]
    text = between(text, TABLE, markdown(table))
    return between(text, RECIPES, "\n\n".join(part for app in APPLICATIONS for part in _recipe(app)))


def rows_of(text: str) -> dict[str, list[str]]:
    """The rows that a page has, by names of applications."""
    _, _, rest = text.partition(TABLE[0])
    found = {}
    titles = {app.title: app.name for app in APPLICATIONS}
    for line in rest.partition(TABLE[1])[0].strip().splitlines()[2:]:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        title = cells[0].partition("]")[0].removeprefix("[")
        if title in titles:
            found[titles[title]] = [cell.replace("\\|", "|") for cell in cells]
    return found


def between(text: str, marks: tuple[str, str], new: str) -> str:
    """The text with `new` between two marks."""
    before, _, rest = text.partition(marks[0])
    return f"{before}{marks[0]}\n\n{new}\n\n{marks[1]}{rest.partition(marks[1])[2]}"


def _row(app: Application, outcome: Outcome) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
    if outcome.problem:
        return [_link(app), versions, *[outcome.problem] * 4]
    return [_link(app), versions, *(outcome.situations.get(each, "") for each in Situation)]


def _link(app: Application) -> str:
    anchor = re.sub(r"[^\w\- ]", "", app.title.lower()).replace(" ", "-")
    return f"[{app.title}](#{anchor})"


def _recipe(app: Application) -> Iterator[str]:
    yield f"## {app.title}"
    variables = [f"{name}={value}" for name, value in app.environment.items()]
    command = " ".join([*variables, app.command]).replace("{port}", str(app.port)).replace(" {options}", "")
    yield f"Started by `{command}`. What was done: {app.does}."
    for situation, lines in app.situations.items():
        options = app.options(situation)
        and_options = f" Its own options: `{options}`." if options else ""
        yield f"**{situation[0].upper()}{situation[1:]}.** {lines.why}{and_options}"
        if situation is not Situation.TLS or app.shown(situation) != app.shown(Situation.ROOT):
            yield f"```yaml\n{app.shown(situation)}```"
    if app.remark:
        yield app.remark


def _by_name() -> dict[str, Application]:
    return {each.name: each for each in APPLICATIONS}
