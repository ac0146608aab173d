"""`docs/applications.md` and what it is written from agree; whether the applications work is shown by `make apps`."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.applications import APPLICATIONS
from apps.page import PAGE, rendered, rows_of
from portico.config import load_text
from support.authority import Authority


def test_the_page_has_the_lines_that_are_run() -> None:
    text = PAGE.read_text()
    rows = rows_of(text)
    assert set(rows) == {app.name for app in APPLICATIONS}, "each has a row"
    assert rendered(text, rows) == text, "make apps writes it anew"


def test_the_lines_are_valid_as_they_stand_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Authority(tmp_path).leaf("example", "example.com")
    monkeypatch.chdir(tmp_path)
    for app in APPLICATIONS:
        for situation in app.situations:
            config = load_text(app.configuration(situation), f"{app.name}.yaml", {"SECRET_KEY": "k" * 32})
            assert list(config.services) == [app.name]
