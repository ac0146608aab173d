"""Responses as hooks edit them."""

from __future__ import annotations

import gc

from portico.policies.head import ResponseEdit


class Made(ResponseEdit):
    """One with a field."""

    def _unedited_lines(self) -> list[bytes]:
        return [b"Server: a"]


def test_it_knows_whether_it_was_edited() -> None:
    edit = Made(200)
    assert edit.headers.get("Server") == "a"
    assert not edit.changed
    edit.headers.set("Server", "b")
    assert edit.changed
    assert edit.lines == [b"Server: b"]


def test_another_status_is_an_edit() -> None:
    edit = Made(200)
    edit.status = 200
    assert not edit.changed
    edit.status = 201
    assert edit.changed


def test_it_is_freed_at_once() -> None:
    """What leads back to itself stays until a collection, and what a reload finds of such stays for good."""
    gc.collect()
    edit = Made(200)
    edit.headers.set("Server", "b")
    del edit
    assert gc.collect() == 0
