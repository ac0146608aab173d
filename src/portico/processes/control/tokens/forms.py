"""Requests to the token endpoint taken apart: the form, and who the client says it is."""

from __future__ import annotations

import binascii
from base64 import b64decode
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request

from portico.processes.control.tokens.errors import OAuthError

_LARGEST: Final = 64 << 10
_FIELDS: Final = 50
_KIND: Final = "application/x-www-form-urlencoded"
CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="portico"'}
"""What goes with the 401 for a client that shows itself in `Authorization` (RFC 6749, section 5.2)."""


async def read_form(request: Request) -> dict[str, str]:
    """The parameters that have a value; one without counts as left out. Raises OAuthError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _KIND:
        raise OAuthError("invalid_request", f"send the parameters as a form: Content-Type: {_KIND}")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST:
            raise OAuthError("invalid_request", f"a form has {_LARGEST} bytes at most", 413)
    try:
        pairs = parse_qsl(body.decode("ascii"), max_num_fields=_FIELDS, errors="strict")
    except ValueError:  # UnicodeDecodeError too
        raise OAuthError("invalid_request", "the form is not UTF-8, percent-encoded, or has too many fields") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthError("invalid_request", "a parameter is there twice")
    return form


class Shown(NamedTuple):
    """A name and a secret that a client shows, and whether it does so in `Authorization`."""

    name: str
    secret: str
    in_header: bool


def clients_shown(authorization: str | None, form: dict[str, str]) -> list[Shown]:
    """Who the client says it is; nobody, or, where that can be read in two ways, either. Raises OAuthError.

    A client form-encodes both parts before it joins them (RFC 6749, section 2.3.1 and appendix B), but many do not. A
    client without a secret says nothing that could be checked, and counts as none.
    """
    name, secret = form.get("client_id", ""), form.get("client_secret", "")
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if not scheme:
        return [Shown(name, secret, in_header=False)] if secret else []
    if scheme.lower() != "basic":
        raise _refused("clients show who they are with Basic, or in the form")
    shown = _basic(encoded.strip())
    if secret:
        raise OAuthError("invalid_request", "the client shows its secret in Authorization and in the form: choose one")
    if name and name not in [each.name for each in shown]:
        raise OAuthError("invalid_request", "client_id is not the one in Authorization")
    return [each for each in shown if each.secret]


def _basic(encoded: str) -> list[Shown]:
    try:
        shown = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise _refused("what follows Basic is no base64") from None
    try:
        text = shown.decode()
    except UnicodeDecodeError:
        text = shown.decode("latin-1")  # as Authlib and requests write it, where it is not ASCII
    name, colon, secret = text.partition(":")
    if not colon:
        raise _refused("what follows Basic has no colon between name and secret")
    readings = [(name, secret)]
    with suppress(UnicodeDecodeError):
        readings.insert(0, (unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")))
    return [Shown(*reading, in_header=True) for reading in dict.fromkeys(readings)]


def _refused(description: str) -> OAuthError:
    return OAuthError("invalid_client", description, 401, CHALLENGE)
