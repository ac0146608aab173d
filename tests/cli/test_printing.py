"""What commands print."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from typer import Exit

from portico.cli import console, services

NASTY = "a\x1b]0;title\x07\x00b\rc\x9bd [red]e[/]"
SHOWN = r"a\x1b]0;title\x07\x00b\rc\x9bd [red]e[/]"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What goes to either stream of a terminal."""
    stream = io.StringIO()
    for name in ("out", "err"):
        own = Console(file=stream, highlight=False, soft_wrap=True, force_terminal=True, color_system=None)
        monkeypatch.setattr(console, name, own)
    return stream


def test_an_error_is_text(printed: io.StringIO) -> None:
    with pytest.raises(Exit):
        console.fail(f"first\n{NASTY}")
    assert printed.getvalue() == f"first\n{SHOWN}\n"


def test_what_a_registry_says_is_text(printed: io.StringIO) -> None:
    instance: dict[str, Any] = {"url": "http://[fd00::1]:8001", "weight": 1, "status": "unhealthy", "source": "redis"}
    listed: list[dict[str, Any]] = [
        {"name": NASTY, "instances": [{**instance, "error": NASTY}, {**instance, "url": NASTY}]},
        {"name": NASTY, "instances": []},
    ]
    console.print_table(services._services_table(listed))
    text = printed.getvalue()
    assert text.count(SHOWN) == 5
    assert "http://[fd00::1]:8001" in text
    assert text.replace("\n", "").isprintable()
