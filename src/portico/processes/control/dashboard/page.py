"""What a page is: its name, what it shows, and what can be done on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from portico.processes.control.dashboard.api import Answer, Api, ApiError
from portico.processes.control.dashboard.forms import Form
from portico.processes.control.dashboard.history import History
from portico.processes.control.dashboard.sessions import Session

Context: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in words; the page is shown anew (`query`: with these parameters in place of its own)."""

    text: str
    query: str | None = None
    is_warning: bool = False


@dataclass(slots=True)
class Visit:
    """One request for a page. `get` asks the admin API, each path once."""

    session: Session
    api: Api
    history: History
    query: Mapping[str, str]
    form: Form = field(default_factory=Form)
    _known: dict[str, Answer | ApiError] = field(default_factory=dict)

    async def get(self, path: str) -> Answer:
        """Raises ApiError."""
        if path not in self._known:
            try:
                self._known[path] = await self.api.get(path)
            except ApiError as error:
                self._known[path] = error
        known = self._known[path]
        if isinstance(known, ApiError):
            raise known
        return known

    async def tried(self, path: str) -> Answer:
        """The same where a page does without: what is wrong is its `problem`."""
        try:
            return await self.get(path)
        except ApiError as error:
            return Answer(problem=str(error))

    def forget(self) -> None:
        """Ask anew: something was changed."""
        self._known.clear()


Show: TypeAlias = Callable[[Visit], Awaitable[Context]]
Act: TypeAlias = Callable[[Visit], Awaitable[Done | Context]]


@dataclass(frozen=True, slots=True)
class Page:
    """`name` is the last segment of its address, and names its template.

    `actions` are named by the field `do` of its forms; one that changes something `needs_write`, those of `reading` do
    not. A page that `is_live` is fetched again every two seconds while somebody looks at it.
    """

    name: str
    title: str
    show: Show
    actions: Mapping[str, Act] = field(default_factory=dict)
    reading: frozenset[str] = frozenset()
    is_live: bool = True
    samples: bool = False
    """Whether it shows figures over time, which are sampled while it is open."""

    @property
    def template(self) -> str:
        """The file of its template."""
        return f"{self.name or 'overview'}.html"

    @property
    def address(self) -> str:
        """Relative to every other page."""
        return self.name or "./"
