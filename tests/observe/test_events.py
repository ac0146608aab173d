"""Events on a terminal and elsewhere."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from portico.observe.events import configure_events

logger = logging.getLogger("portico.test")


class Stderr(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


def written(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, style: str = "json", **env: str) -> str:
    """What two events look like."""
    stderr = Stderr(terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    configure_events("INFO", style)
    logger.warning("instance %s", "down", extra={"service": "atc", "error": None})
    logger.debug("never seen")
    return stderr.getvalue()


def test_a_terminal_gets_one_readable_line_in_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = written(monkeypatch, terminal=True).splitlines()
    assert "\x1b[33mWARNING\x1b[0m instance down\x1b[2m service=atc\x1b[0m" in line


NASTY = "a\x1b[2J\x00b\r\nINFO c\x9bd\x7f\u2028\u00e9"


def test_what_comes_from_elsewhere_steers_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Stderr(True)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("NO_COLOR", "1")
    configure_events("INFO", "text")
    logger.warning("went %s", NASTY, extra={"error": ValueError(NASTY)})
    try:
        raise ValueError(NASTY)
    except ValueError:
        logger.exception("failed")
    text = stderr.getvalue()
    assert all(line.isprintable() for line in text.split("\n"))
    escaped = r"a\x1b[2J\x00b\r\nINFO c\x9bd\x7f\u2028\u00e9".replace(r"\u00e9", "\u00e9")
    assert f"went {escaped} error={escaped}" in text
    assert text.count("ValueError: a\\x1b[2J") == 1


def test_json_holds_no_control_character(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Stderr(False)
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_events("INFO", "json")
    logger.warning("went", extra={"error": NASTY})
    (line,) = stderr.getvalue().split("\n")[:-1]
    assert json.loads(line)["error"] == NASTY
    assert line.replace("\u2028", "").isprintable()


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    assert written(monkeypatch, terminal=True, **env)[8:] == " WARNING instance down service=atc\n"


def test_an_empty_no_color_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in written(monkeypatch, terminal=True, NO_COLOR="")


def test_elsewhere_it_is_what_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    event = json.loads(written(monkeypatch, terminal=False))
    assert (event["level"], event["event"], event["service"]) == ("WARNING", "instance down", "atc")
    assert written(monkeypatch, terminal=False, style="text")[8:] == " WARNING instance down service=atc\n"


def test_half_a_character_costs_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON of others may hold, and a policy may log."""
    stderr = Stderr(False)
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_events("INFO", "json")
    logger.warning("odd %s", "\ud800", extra={"name\udfff": "\ud800"})
    event = json.loads(stderr.getvalue())
    assert (event["event"], event["name\\udfff"]) == ("odd \\ud800", "\\ud800")
