"""What the access log has beyond its own fields, where the configuration names it: never what proves who asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import Final

from portico.core.exchange import Exchange
from portico.observe.access_log import AccessRecord, Log

PLAIN: Final = ("user_agent", "referer", "query", "protocol")
"""The names that stand for themselves; others are `header.NAME` and `claim.NAME`."""
_LONGEST: Final = 500
"""Characters of a value; what follows is cut off."""
_SECRET_FIELDS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SECRET: Final = re.compile(
    r"passw|passphrase|^pass$|pwd|secret|token|(?:api|access|private)[-_]?key|^key$|credential|signature|^sig$|^code$"
    r"|session|jwt|auth(?!or)|assertion",
    re.IGNORECASE,
)
"""Names of parameters and fields whose values let others in."""
_PARAMETER: Final = re.compile(r"([?&;])([^=&;#]*)=([^&;#]*)")
_MASK: Final = "***"


def check_field(name: str) -> str:
    """The name of a field of the access log. Raises ValueError for one that there is not, or that is a secret."""
    kind, _, what = name.partition(".")
    if name in PLAIN or (kind == "claim" and what):
        return name
    if kind != "header" or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", what):
        raise ValueError(f"expected one of {', '.join(PLAIN)}, header.NAME or claim.NAME")
    if is_secret_field(what):
        raise ValueError(f"{what} lets whoever reads the log in as the client: it is never logged")
    return name


def is_secret_field(name: str) -> bool:
    """Whether the name of a field or parameter says that its value lets others in."""
    return name.lower() in _SECRET_FIELDS or _SECRET.search(name) is not None


def masked(target: str) -> str:
    """The same with the values of parameters masked whose names say that they are secret, however they are encoded."""
    if not _may_be_secret(target.lower()):
        return target
    return _PARAMETER.sub(lambda found: f"{found[1]}{found[2]}={_MASK}" if _is_secret(found[2]) else found[0], target)


def _may_be_secret(text: str) -> bool:
    """Whether anything in it could be such a name: in most queries nothing is, and this is a tenth of the work."""
    return (
        "%" in text
        or "pass" in text
        or "key" in text
        or "token" in text
        or "auth" in text
        or "secret" in text
        or "sig" in text
        or "code" in text
        or "session" in text
        or "jwt" in text
        or "pwd" in text
        or "credential" in text
        or "assertion" in text
    )


def _is_secret(name: str) -> bool:
    return "%" in name or _SECRET.search(name) is not None


Detail = Callable[[AccessRecord, Exchange], None]
"""Adds something to a record."""


def details_of(names: Sequence[str]) -> list[Detail]:
    """What adds these fields to each record: one, or none where none is named."""
    if not names:
        return []
    readers = {name: _reader(name) for name in names}

    def add(record: AccessRecord, exchange: Exchange) -> None:
        found = {name: value[:_LONGEST] for name, read in readers.items() if (value := read(exchange))}
        record.fields = found or None

    return [add]


def _reader(name: str) -> Callable[[Exchange], str | None]:
    kind, _, what = name.partition(".")
    if kind == "header":
        return _field(what)
    if kind == "claim":
        return lambda exchange: _text_of(exchange.claims, what)
    if name == "user_agent":
        return _field("user-agent")
    if name == "referer":
        referer = _field("referer")
        return lambda exchange: masked(referer(exchange) or "")
    if name == "query":
        return lambda exchange: masked(exchange.query.decode("latin-1"))[1:] if exchange.request is not None else None
    return lambda exchange: f"HTTP/1.{exchange.request.version - 10}" if exchange.request is not None else None


def _field(name: str) -> Callable[[Exchange], str | None]:
    lower = name.lower().encode()

    def read(exchange: Exchange) -> str | None:
        value = exchange.request.fields.get(lower) if exchange.request is not None else None
        return None if value is None else value.decode("latin-1")

    return read


def _text_of(claims: Mapping[str, object] | None, name: str) -> str | None:
    value = claims.get(name) if claims is not None else None
    return None if value is None else str(value)


class SampledLog:
    """Takes a `share` of the records of what went well, and all of what did not."""

    def __init__(self, log: Log, share: float) -> None:
        self._log = log
        self._share = share

    def add(self, record: AccessRecord) -> None:
        """Take one, or leave it out."""
        well = record.status_code < 400 and record.reason is None and record.upstream_error is None
        if not well or random() < self._share:  # noqa: S311
            self._log.add(record)
