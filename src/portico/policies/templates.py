"""Values with `{names}` in them, which stand for what is known of an exchange; and such values of header fields.

`{NAME:-default}` says what stands for a name that has no value; `{{` and `}}` are braces. `{env.NAME}` is replaced
before, when the file is read (`config/substitution.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from portico.core.claims import claim_path, value_at
from portico.core.exchange import Exchange
from portico.policies.consumer_fields import percent_encoded

Read: TypeAlias = Callable[[Exchange], Any]
"""Gives what stands for a name: text, or what a claim holds; nothing is None or empty."""

NO_OTHERS: Final[Mapping[str, Read]] = MappingProxyType({})

_PART: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_ASCII: Final = re.compile(r"[ -~]*")
_SHOWN: Final = re.compile(r"[a-z_.-]{1,40}", re.IGNORECASE)
"""What an error repeats of a name: text between braces may also be a part of a secret."""
_NGINX: Final = re.compile(
    r"(?<!\S)\$(host|scheme|(?:request_)?uri|remote_(?:addr|user)|request_id|"
    r"proxy_add_x_forwarded_for|(?:http|arg)_\w{1,40})(?!\S)"
)
"""One of nginx's variables that stands by itself: within a word it may be a part of a secret."""
_OF_NGINX: Final = {"remote_addr": "client_ip", "remote_user": "consumer", "request_id": "request_id"}
_CLAIM: Final = "claim."
_LIMIT: Final = 8192
"""Bytes of a value; a longer one is not sent, since servers refuse requests for it."""


class Variable(NamedTuple):
    """A name in a value, and what stands for it where it has no value: None where nothing does."""

    read: Read
    default: str | None

    @property
    def is_about_consumer(self) -> bool:
        """Whether the consumer, or the issuer of its token, chose what stands for it."""
        return self.read is _consumer or isinstance(self.read, ClaimReader)

    def encoded(self) -> Variable:
        """The same in visible ASCII: encoded as names of consumers are, a list's members joined by commas."""
        read = self.read
        return self if read in _VISIBLE else Variable(lambda exchange: _text(read(exchange)), self.default)


class Template:
    """A value of a field, or what makes it for each exchange. Raises ValueError where it can be neither.

    `others` are names that only it has.
    """

    __slots__ = ("_parts", "fixed", "needs_auth", "needs_consumer")

    def __init__(self, written: str, others: Mapping[str, Read] = NO_OTHERS) -> None:
        if not _ASCII.fullmatch(written):
            raise ValueError(
                "a field's value has only visible ASCII characters and spaces (RFC 9110, section 5.5): "
                "percent-encode others"
            )
        if written != written.strip():
            raise ValueError("has a space at an end, which is no part of a field's value")
        parts = parts_of(written, others)
        self._parts = tuple(part if isinstance(part, str) else part.encoded() for part in parts)
        about_consumers = [part for part in parts if isinstance(part, Variable) and part.is_about_consumer]
        self.needs_auth = bool(about_consumers)
        """Whether it depends on the consumer."""
        self.needs_consumer = any(part.default is None for part in about_consumers)
        """Whether it is nothing without one."""
        self.fixed = None if any(isinstance(part, Variable) for part in parts) else "".join(map(str, parts))
        """The value itself, where it is the same for every exchange."""

    def render(self, exchange: Exchange) -> str:
        """The value; empty where one of its names has no value and no default, or where it cannot be sent."""
        pieces = []
        for part in self._parts:
            if isinstance(part, Variable):
                piece = part.read(exchange) or part.default
                if piece is None:
                    return ""
                pieces.append(piece)
            else:
                pieces.append(part)
        value = "".join(pieces).strip()
        return value if len(value) <= _LIMIT and _ASCII.fullmatch(value) else ""


def parts_of(written: str, others: Mapping[str, Read] = NO_OTHERS) -> tuple[str | Variable, ...]:
    """The literal parts of a value and the names between them; `others` are names that only it has.

    Raises ValueError for a name that there is not, for one as nginx writes it, and for a brace that belongs to none.
    """
    if match := _NGINX.search(written):
        here = _OF_NGINX.get(match[1])
        advice = (
            f"write {{{here}}}" if here else f"there are {', '.join(_VARIABLES)}, claim.NAME and env.NAME in braces"
        )
        raise ValueError(f"{match[0]} is nginx's, and would be sent as it stands: {advice}")
    return tuple(_parts(written, others))


def plain_text(value: Any) -> str:
    """What stands for a name, as text: a list's members joined by commas; nothing for what has no text."""
    if isinstance(value, str):
        return _plain_scalar(value)
    if isinstance(value, Sequence):
        members = [_plain_scalar(member) for member in value]
        return ",".join(members) if all(members) else ""
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> str:
    if isinstance(value, str):
        return value if value.isascii() or _HALF.search(value) is None else ""
    return _scalar(value)


_HALF: Final = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, which JSON can hold and UTF-8 cannot."""


def _parts(written: str, others: Mapping[str, Read]) -> Iterator[str | Variable]:
    for match in _PART.finditer(written):
        text, name = match[0], match[1]
        if name is not None:
            yield _variable(name, others)
        elif text in ("{", "}"):
            raise ValueError(f'"{text}" begins or ends a name, such as {{client_ip}}: write "{text * 2}" for a brace')
        else:
            yield text[:1] if text in ("{{", "}}") else text


def _variable(written: str, others: Mapping[str, Read]) -> Variable:
    name, mark, default = written.partition(":-")
    if name.startswith(_CLAIM) and len(name) > len(_CLAIM):
        return Variable(ClaimReader(name.removeprefix(_CLAIM)), default if mark else None)
    read = _VARIABLES.get(name) or others.get(name)
    if read is None:
        raise ValueError(_unknown(name, others))
    return Variable(read, default if mark else None)


def _unknown(name: str, others: Mapping[str, Read]) -> str:
    known = [*_VARIABLES, *others, "claim.NAME", "env.NAME"]
    shown = f"{{{name}}}" if _SHOWN.fullmatch(name) else "between { and }"
    close = get_close_matches(name.lower().replace("-", "_"), known, 1)
    hint = f'; did you mean "{{{close[0]}}}"?' if close else ""
    return f"there is no value {shown}, but {', '.join(known)}; {{{{ and }}}} are braces{hint}"


def _consumer(exchange: Exchange) -> str | None:
    return exchange.consumer


def _client_ip(exchange: Exchange) -> str:
    return exchange.client_ip


def _request_id(exchange: Exchange) -> str:
    return exchange.request_id


def _route(exchange: Exchange) -> str:
    return str(exchange.match.route.name)


def _service(exchange: Exchange) -> str:
    return str(exchange.match.handling.service_name)


_VARIABLES: Final[dict[str, Read]] = {
    "client_ip": _client_ip,
    "consumer": _consumer,
    "request_id": _request_id,
    "route": _route,
    "service": _service,
}
NAMES: Final = frozenset(_VARIABLES)
"""The names that stand for something everywhere."""
_VISIBLE: Final = frozenset({_client_ip, _request_id, _route, _service})
"""Those whose values are visible ASCII."""


class ClaimReader:
    """A claim of the token by its name or, where that begins with a slash, by its JSON pointer (RFC 6901)."""

    __slots__ = ("_path",)

    def __init__(self, written: str) -> None:
        self._path = claim_path(written)

    def __call__(self, exchange: Exchange) -> Any:
        return value_at(exchange.claims, self._path)


def _text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        members = [_scalar(member).replace(",", "%2C") for member in value]
        return ",".join(members) if all(members) else ""
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        try:
            return percent_encoded(value)
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and UTF-8 cannot
            return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else ""
