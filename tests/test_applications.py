"""`docs/applications.md` and what it is written from agree; whether the applications work is shown by `make apps`."""

from __future__ import annotations

from apps.application import TLS
from apps.applications import APPLICATIONS
from apps.page import PAGE, rendered, rows_of


def test_the_page_has_the_lines_that_are_run() -> None:
    text = PAGE.read_text()
    rows = rows_of(text)
    assert set(rows) == {app.name for app in APPLICATIONS}, "each has a row"
    assert rendered(text, rows) == text, "make apps writes it anew"
    assert TLS in text
