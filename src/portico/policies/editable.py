"""Which fields of requests and responses a configuration may set, add and remove, and why not the others."""

from __future__ import annotations

from typing import Any, Final

from portico.core.fields import FRAMING, OF_HANDSHAKES, OF_ONE_HOP, OWN_FAMILY, plain_name
from portico.core.settings import header_name
from portico.policies import cors

_HOP: Final = "belongs to one connection, and connections are the gateway's: leave it out"
_FRAMING: Final = "follows from the body that is sent: leave it out"
_HANDSHAKE: Final = "is part of how a WebSocket is opened: leave it out"
_ANYWHERE: Final = {
    name.decode(): why
    for names, why in ((OF_ONE_HOP, _HOP), (FRAMING, _FRAMING), (OF_HANDSHAKES, _HANDSHAKE))
    for name in names
}
_ID: Final = (
    "is by what the gateway's log, the service's and the client's are compared; write {request_id} under a name"
)
_REFUSED: Final[dict[tuple[str, str], dict[str, str]]] = {
    ("request", "set"): {
        "x-request-id": f"{_ID} of your own",
        "traceparent": "is the gateway's, so that traces hold together; only remove takes it",
        "proxy": "is what CGI makes HTTP_PROXY of, the proxy of a program's own requests: no service gets it",
    },
    ("request", "remove"): {
        "host": "is in every request; write set: {Host: NAME}, or preserve_host in the service or route",
    },
    ("response", "set"): {
        **dict.fromkeys(("ratelimit", "ratelimit-policy"), "is written by policies.rate_limit; only remove takes it"),
        **{name.decode(): "is written by policies.cors" for name in cors.RESPONSE_FIELDS},
        "date": "says when a response was made: leave it out",
        "x-request-id": f"{_ID} of your own",
    },
    ("response", "remove"): {
        "date": "is in every response (RFC 9110, section 6.6.1)",
        "x-request-id": "is by what a response is found in the log",
    },
}
_REFUSED["request", "add"] = {
    **_REFUSED["request", "set"],
    "host": "is in every request once; write set: {Host: NAME}, or preserve_host in the service or route",
}
_REFUSED["response", "add"] = _REFUSED["response", "set"]
"""What each list may not name, in lower case with dashes, and why."""


def plain_key(name: str) -> str:
    """A field's name in the form in which names are compared here."""
    return plain_name(name.lower().encode()).decode()


def editable(name: str, *, where: tuple[str, str]) -> str:
    """The name of a field that a list of edits may hold, such as `("request", "set")`. Raises ValueError, with why."""
    header_name(name)
    key = plain_key(name)
    why = _ANYWHERE.get(key) or _REFUSED[where].get(key)
    if why is None and where[0] == "request" and where[1] != "remove" and key.encode().startswith(OWN_FAMILY):
        why = "says who the gateway has identified; only remove takes it"
    if why is not None:
        raise ValueError(f"{name} {why}")
    return name


def is_editable(name: Any, where: tuple[str, str]) -> bool:
    """The same as a question, of whatever was written."""
    try:
        return isinstance(name, str) and bool(editable(name, where=where))
    except ValueError:
        return False
