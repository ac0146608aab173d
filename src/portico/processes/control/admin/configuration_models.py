"""What the admin API shows of the configuration and its history, as types."""

from __future__ import annotations

from typing import Literal

from portico.processes.control.admin.models import Page, Problem, Shown


class FoundModel(Shown):
    """Something that is wrong, or worth a look."""

    file: str | None
    line: int | None
    column: int | None
    key: str
    message: str
    suggestion: str | None
    rule: str | None = None


class ChangeModel(Shown):
    """What another document changes, in words."""

    kind: str
    what: str
    effect: str | None
    details: list[str]
    where: str | None
    warning: str | None


class InvalidModel(Problem):
    """A document that cannot come into force."""

    valid: Literal[False] | None = None
    problems: list[FoundModel] | None = None


class OutdatedModel(Problem):
    """A change to what is not in force any more (412)."""

    current: str | None = None
    """The tag of what is in force."""
    changes: list[ChangeModel] | None = None
    """What has changed since the tag that was sent, where that is known."""


class ValidPage(Page):
    """A document that could come into force."""

    valid: Literal[True]
    warnings: list[FoundModel]


class PlanPage(Page):
    """What a document would change."""

    changes: list[ChangeModel]


class AppliedPage(Page):
    """What came of a change."""

    changes: list[ChangeModel]
    etag: str
    number: int | None
    """Of its entry in the history; null where nothing changed."""
    notes: list[str]
    """What is not as its author may think, in sentences."""
    to: int | None = None
    """The entry of the history that a rollback leads to."""


class HistoryEntry(Shown):
    """A configuration that was in force."""

    number: int
    when: str
    action: str
    state: str
    who: str
    """The caller of the admin API."""
    user: str
    """Who it said that it acts for."""
    why: str
    generation: int
    tag: str
    summary: str
    files: list[str]
    """What belongs to it in files of their own."""
    release: str
    """Of Portico, which had it in force."""


class CountedEntry(HistoryEntry):
    """The same in a list."""

    changes: int
    """How many, to the one before."""


class HistoryPage(Page):
    """The configurations that were in force, the newest first."""

    directory: str
    not_kept: str | None
    """Why a restart forgets them, if it does."""
    entries: list[CountedEntry]


class HistoryEntryPage(HistoryEntry, Page):
    """One of them."""

    changes: list[ChangeModel]
    text: str | None
    """Of its file, without secrets."""
