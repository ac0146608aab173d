"""Header fields as policies read and edit them: names in any case, values as text in latin-1 (RFC 9110, 5.5)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final, overload

from portico.core.caches import remembered
from portico.core.fields import FRAMING, OF_HANDSHAKES, OF_ONE_HOP, plain_name

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_NEVER: Final = OF_ONE_HOP | FRAMING | OF_HANDSHAKES


def checked_name(name: str, own: frozenset[bytes] = frozenset()) -> bytes:
    """The lower-cased name of a field that may be edited; `own` are further ones that the gateway alone writes.

    Raises ValueError where it is none: no name at all, or one that governs the connection or the framing of a message,
    in any spelling that a server may take for it.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a header field is text, not {type(name).__name__}")
    raw = name.encode("latin-1", "replace")
    if not _NAME.fullmatch(raw):
        raise ValueError(f"{name!r} is not a name of a header field")
    lower = raw.lower()
    if plain_name(lower) in _NEVER:
        raise ValueError(f"{name} is not to be edited: it governs one connection, and the gateway writes it itself")
    if lower in own:
        raise ValueError(f"{name} is not to be edited: the gateway writes it itself")
    return lower


def checked_line(name: str, value: str) -> bytes:
    """The line of a field, without its end. Raises ValueError where the value cannot be one."""
    if not isinstance(value, str):
        raise TypeError(f"the value of {name} is text, not {type(value).__name__}")
    try:
        raw = value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"the value of {name} has characters beyond latin-1: encode them, in percent for example"
        ) from None
    if not _VALUE.fullmatch(raw):
        raise ValueError(f"the value of {name} has an end of line or another control character")
    return b"%b: %b" % (name.encode("latin-1"), raw)


class Headers:
    """Fields to be read; `names` are their lower-cased names, `lines` they themselves, at the same indexes."""

    __slots__ = ("_lines", "_names")

    def __init__(self, names: Sequence[bytes], lines: Sequence[bytes]) -> None:
        self._names = names
        self._lines = lines

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a field; several lines are one value, joined with `, ` (RFC 9110, section 5.3).

        Cookies are joined with `; `. Of Set-Cookie, whose lines cannot be joined, it is the first.
        """
        values = self.get_all(name)
        if len(values) < 2:
            return values[0] if values else default
        lower = name.lower()
        return values[0] if lower == "set-cookie" else ("; " if lower == "cookie" else ", ").join(values)

    def get_all(self, name: str) -> list[str]:
        """The value of each of its lines, in order."""
        wanted = name.lower().encode("latin-1", "replace")
        if wanted not in self._names:
            return []
        start = len(wanted) + 1
        pairs = zip(self._names, self._lines, strict=True)
        return [line[start:].strip(b" \t").decode("latin-1") for own, line in pairs if own == wanted]

    def items(self) -> list[tuple[str, str]]:
        """Lower-cased names with the values of their lines, in order."""
        pairs = zip(self._names, self._lines, strict=True)
        return [(name.decode("latin-1"), line[len(name) + 1 :].strip(b" \t").decode("latin-1")) for name, line in pairs]

    def __contains__(self, name: str) -> bool:
        return name.lower().encode("latin-1", "replace") in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name in self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(set(self)))})"  # values may be secrets

    def __getattr__(self, name: str) -> object:
        if name in ("set", "add", "remove"):
            raise AttributeError(f"the client's own fields are not edited: use exchange.upstream_headers.{name}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class EditableHeaders(Headers):
    """Fields to be read and edited. Names and values are checked: a wrong one raises ValueError, and edits nothing."""

    __slots__ = ("_own", "is_edited")

    _names: list[bytes]
    _lines: list[bytes]

    def __init__(
        self,
        names: list[bytes],
        lines: list[bytes],
        own: frozenset[bytes] = frozenset(),
    ) -> None:
        """Edits the two lists in place; `own` names are refused."""
        super().__init__(names, lines)
        self.is_edited = False
        self._own = own

    def set(self, name: str, value: str) -> None:
        """One line with this value, in place of all that the field has."""
        lower, line = checked_name(name, self._own), checked_line(name, value)
        self.drop((lower,))
        self.append(lower, line)

    def add(self, name: str, value: str) -> None:
        """One more line."""
        self.append(checked_name(name, self._own), checked_line(name, value))

    def remove(self, name: str) -> None:
        """None of its lines; it need not have any."""
        self.drop((checked_name(name, self._own),))

    def drop(self, names: Collection[bytes]) -> None:
        """Remove the lines of these lower-cased names, whatever governs them."""
        self._names[:], self._lines[:] = _without(names, self._names, self._lines)
        self.is_edited = True

    def append(self, lower: bytes, line: bytes) -> None:
        """One more line, which is known to be one, of this lower-cased name."""
        self._names.append(lower)
        self._lines.append(line)
        self.is_edited = True


def _without(names: Collection[bytes], all_names: list[bytes], lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    kept = [(name, line) for name, line in zip(all_names, lines, strict=True) if name not in names]
    return [name for name, _ in kept], [line for _, line in kept]


class UpstreamHeaders(EditableHeaders):
    """The fields that the service will get: the client's that are passed on, and edits of them.

    What the gateway writes when the request is sent (X-Forwarded-*, X-Request-ID, Host, …) is not here to be read, but
    may be replaced and, except for Host, removed. An edit also replaces or removes the other spellings of its name
    (`X_Tenant` of `X-Tenant`) that servers take for the same.
    """

    __slots__ = ("added", "dropped")

    def __init__(self, names: list[bytes], lines: list[bytes]) -> None:
        super().__init__(names, lines)
        self.dropped: set[bytes] = set()
        """Names, as `plain_name` has them, of what is not passed on: no other spelling of them may stay."""
        self.added: list[bytes] = []
        """The lines that are sent beside the others."""

    def add(self, name: str, value: str) -> None:
        if name.lower() == "host":
            raise ValueError("Host is not to be added: every request has one, which may be set")
        super().add(name, value)

    def remove(self, name: str) -> None:
        if name.lower() == "host":
            raise ValueError("Host is not to be removed: every request has one")
        super().remove(name)

    def drop(self, names: Collection[bytes]) -> None:
        plain = set(map(_plain, names))
        self.dropped |= plain
        present = [name for name in self._names if _plain(name) in plain]
        if present:
            super().drop(present)
        if self.added:
            self.added = [line for line in self.added if _plain(line.partition(b":")[0].lower()) not in plain]

    def append(self, lower: bytes, line: bytes) -> None:
        super().append(lower, line)
        self.added.append(line)

    def frame(self, line: bytes) -> None:
        """Have the body framed by this line, in place of how the client framed it."""
        self.drop(FRAMING)
        self.added.append(line)


def _plain(name: bytes) -> bytes:
    return _remembered(name) if len(name) <= _REMEMBERED_SIZE else plain_name(name)


_REMEMBERED_SIZE: Final = 64
_remembered: Final = remembered(1024)(plain_name)
