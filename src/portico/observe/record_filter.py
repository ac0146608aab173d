"""Which exchanges somebody wants to see, by what the access log says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from operator import attrgetter
from typing import Any, Final

import msgspec

from portico.observe.access_log import AccessRecord

Check = Callable[[AccessRecord], bool]

_LOWEST_ERROR: Final = HTTPStatus.INTERNAL_SERVER_ERROR


class RecordFilter(msgspec.Struct, frozen=True):
    """What a record has to be: one of each of these that are given, and what else is given. By default it is any.

    `statuses` are such as `404` and `5xx`, `path` is the beginning of one, `slower` are seconds. `id` is that of the
    request or of its trace. `errors` are 5xx, and what has a reason.
    """

    services: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    path: str = ""
    client_ip: str = ""
    slower: float = 0.0
    id: str = ""
    errors: bool = False

    def checks(self) -> list[Check]:
        """All of them have to be true; none where every record is wanted."""
        return [*self._listed(), *self._single()]

    def _listed(self) -> Iterator[Check]:
        for wanted, name in (
            (frozenset(numbers_of(self.statuses)), "status_code"),
            (frozenset(self.reasons), "reason"),
            (frozenset(self.services), "service"),
            (frozenset(self.routes), "route"),
            (frozenset(self.methods), "method"),
            (frozenset(self.consumers), "user"),
        ):
            if wanted:
                yield _is_one(attrgetter(name), wanted)

    def _single(self) -> Iterator[Check]:
        path, client_ip, identity, milliseconds = self.path, self.client_ip, self.id, self.slower * 1000
        if path:
            yield lambda record: record.path.startswith(path)
        if client_ip:
            yield lambda record: record.client_ip == client_ip
        if milliseconds:
            yield lambda record: record.duration_ms >= milliseconds
        if identity:
            yield lambda record: identity in (record.request_id, record.trace_id)
        if self.errors:
            yield lambda record: record.status_code >= _LOWEST_ERROR or record.reason is not None


def _is_one(read: Callable[[AccessRecord], Any], wanted: frozenset[Any]) -> Check:
    return lambda record: read(record) in wanted


def numbers_of(statuses: Iterable[str]) -> Iterator[int]:
    """The numbers that are written as a status (`404`) or a class of them (`5xx`). Raises ValueError for others."""
    for text in statuses:
        if len(text) != 3 or not text.isascii() or text[0] not in "12345":
            raise ValueError(f"{text[:20]}: write a status such as 404, or a class such as 5xx")
        if text[1:].lower() == "xx":
            yield from range(int(text[0]) * 100, int(text[0]) * 100 + 100)
        elif text.isdigit():
            yield int(text)
        else:
            raise ValueError(f"{text}: write a status such as 404, or a class such as 5xx")
