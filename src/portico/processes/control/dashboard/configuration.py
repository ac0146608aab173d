"""The configuration: what is in force, what another file would change, applying it, and going back."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from portico.processes.control.dashboard.api import ApiError
from portico.processes.control.dashboard.forms import whole_number
from portico.processes.control.dashboard.page import Context, Done, Page, Visit

_YAML: Final = "application/yaml"
_PATH: Final = "/admin/config"
_LONGEST: Final = 1_000_000
"""Characters of a text whose lines are compared: more takes longer than anybody waits."""


async def configuration(visit: Visit) -> Context:
    """The file as it is in force, or what it means, the history, and one entry of that."""
    shown: Context = {"planned": None, "view": visit.query.get("view", ""), "entry": None, "text": "", "tag": ""}
    shown["text"], shown["tag"] = await visit.api.text(_PATH, _YAML)
    if shown["view"] == "resolved":
        document = dict(await visit.get(_PATH))
        shown["resolved"] = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    shown["history"] = await _history(visit)
    number = visit.query.get("entry", "")
    if number.isascii() and number.isdecimal():
        shown["entry"] = entry = await visit.get(f"{_PATH}/history/{number}")
        shown["entry_difference"] = await _difference(shown["text"], str(entry.get("text", "")))
    return shown


async def _history(visit: Visit) -> list[dict[str, Any]]:
    found = await visit.tried(f"{_PATH}/history")
    entries: list[dict[str, Any]] = found.get("entries", [])
    in_force = next((each["number"] for each in entries if each["state"] == "applied"), None)
    return [{**each, "in_force": each["number"] == in_force} for each in entries]


async def _plan(visit: Visit) -> Context:
    """What the text in the form would change; it stays in the form."""
    text = _text(visit)
    try:
        planned = await visit.api.post(f"{_PATH}/plan", headers={"Content-Type": _YAML}, text=text)
    except ApiError as error:
        if error.status != 422:
            raise
        return {"problem": str(error), "refused": error.document, "edited": text}
    now, _ = await visit.api.text(_PATH, _YAML)
    lines = await _difference(now, text)
    return {"planned": planned, "edited": text, "difference": lines, "base": visit.form.text("tag")}


async def _apply(visit: Visit) -> Done:
    headers = {"Content-Type": _YAML, "If-Match": visit.form.text("tag") or '"unknown"'}
    why = visit.form.text("why")
    query = {"why": why} if why else None
    content = _text(visit).encode()
    answer = await visit.api.send("PUT", _PATH, query=query, content=content, headers=headers)
    return Done(_said(answer), query="")


async def _rollback(visit: Visit) -> Done:
    form = visit.form
    to = form.text("to")
    if to and whole_number(to) is None:  # and not the one before, which nobody has asked for
        raise ApiError(422, {"detail": f"{to[:40]} is no number of an entry."})
    document = {"to": whole_number(to), "why": form.text("why")}
    headers = {"If-Match": form.text("tag") or '"unknown"'}
    answer = await visit.api.post(f"{_PATH}/rollback", document, headers)
    return Done(f"Rolled back to {to or 'the one before'}. {_said(answer)}", query="")


async def _reload(visit: Visit) -> Done:
    answer = await visit.api.post("/admin/reload")
    return Done(f"The file was read again: generation {answer['generation']} is in force.")


def _said(answer: dict[str, Any]) -> str:
    changes = len(answer.get("changes") or ())
    what = f"{changes} change{'' if changes == 1 else 's'}" if changes else "Nothing has changed"
    return f"{what}: generation {answer.get('generation')} is in force in every worker."


def _text(visit: Visit) -> str:
    """Browsers send CRLF where a text area has line ends."""
    return visit.form.get("text", "").replace("\r\n", "\n")


async def _difference(before: str, after: str) -> list[tuple[str, str]]:
    """In a thread: thousands of lines take a while, and other requests go on."""
    return await asyncio.to_thread(lambda: [*difference(before, after)])


def difference(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Lines that are other, each as `add`, `del`, `at` (where) or "" (beside them)."""
    if len(before) + len(after) > _LONGEST:
        yield "at", "The texts are too long to compare line by line."
        return
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
    kinds = {"+": "add", "-": "del", "@": "at"}
    for number, line in enumerate(lines):
        if number > 1:  # the first two name files
            yield kinds.get(line[:1], ""), line


CONFIGURATION = Page(
    "configuration",
    "Configuration",
    configuration,
    {"plan": _plan, "apply": _apply, "rollback": _rollback, "reload": _reload},
    reading=frozenset({"plan"}),
    is_live=False,
)
