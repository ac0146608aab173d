"""Requests that a partner signed with a shared key (HMAC-SHA-256): whole, recent, and each of them once.

    policies:
      plugins:
        - use: "./policies/signed.py:SignedRequests"
          with: {keys: {partner-1: "${PARTNER_KEY}"}, seen: /run/portico/signatures}

A client sends `X-Signature: key=partner-1, time=1700000000, nonce=CHARACTERS, mac=HEX` and, with a body,
`Content-Digest: sha-256=:BASE64:` (RFC 9530). `message()` says what the MAC is of.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from time import time
from typing import Annotated, Final

from pydantic import Field, SecretStr

import portico
from portico.plugin import (
    BodyFilter,
    Exchange,
    Head,
    Policy,
    Refusal,
    RefusedError,
    Size,
    Verdict,
    refuse,
    refuse_incremental,
)

_SIGNATURE: Final = re.compile(
    r"key=([A-Za-z0-9_-]{1,64}), time=([0-9]{10}), nonce=([A-Za-z0-9_-]{16,64}), mac=([0-9a-f]{64})"
)
_CHALLENGE: Final = {"WWW-Authenticate": "Signature"}
_NOTHING: Final = f"sha-256=:{b64encode(sha256().digest()).decode()}:"


def message(method: str, host: str, path: str, query: str, digest: str, when: str, nonce: str) -> bytes:
    """What is signed. None of the parts has a line feed in it, so that no two requests have one message."""
    return "\n".join((method, host, path, query, digest, when, nonce)).encode("latin-1")


class SignedRequests(Policy):
    """Refuses what is not signed, was changed, is old, or came before; the service sees no byte of such a body."""

    class Settings(portico.Settings):
        """`seen` is a directory, on a memory file system such as /run, that all workers share.

        A request is refused whose time is more than `window` seconds from the gateway's. Bodies are held until all of
        them is there, up to `max_body`.
        """

        keys: Annotated[Mapping[str, SecretStr], Field(min_length=1)]
        seen: Path
        window: Annotated[int, Field(ge=1, le=300)] = 30
        max_body: Size = 1024 * 1024

    settings: Settings

    async def open(self) -> None:
        self.keys = {name: key.get_secret_value().encode() for name, key in self.settings.keys.items()}
        for name, key in self.keys.items():
            if len(key) < 32:
                raise ValueError(f"the key {name} has {len(key)} bytes; openssl rand -hex 32 makes a good one")
        self.settings.seen.mkdir(mode=0o700, parents=True, exist_ok=True)

    def request(self, exchange: Exchange) -> Verdict:
        headers = exchange.headers
        written, digests = headers.get_all("X-Signature"), headers.get_all("Content-Digest")
        signature = _SIGNATURE.fullmatch(written[0]) if len(written) == 1 else None
        if signature is None or len(digests) > 1:
            return _refused("send X-Signature once, as key=NAME, time=SECONDS, nonce=CHARACTERS, mac=HEX")
        name, when, nonce, mac = signature.groups()
        digest = digests[0] if digests else ""
        if _has_body(exchange):
            exchange.state["signed digest"] = digest  # `body` compares it: the body has yet to come
        elif digest not in ("", _NOTHING):
            return _refused("Content-Digest is that of a body, and there is none")

        host, query = headers.get("Host", ""), str(exchange.query)
        signed = message(exchange.method, host, exchange.path, query, digest, when, nonce)
        # A key that is unknown costs as much time as one that is known; compare_digest takes the same for any MAC.
        expected = hmac.new(self.keys.get(name, b"\0" * 32), signed, "sha256").hexdigest()
        if not hmac.compare_digest(mac, expected) or name not in self.keys:
            return _refused("the signature is not valid")
        if abs(time() - int(when)) > self.settings.window:
            return _refused("the signature is too old, or the clocks differ")
        if not self.is_new(mac, int(when)):
            return _refused("this signature was used before: sign each request anew")
        exchange.upstream_headers.set("X-Partner", name)
        return None

    def is_new(self, mac: str, when: int) -> bool:
        """Whether this is the first request with a MAC, in any worker, also after a restart.

        The kernel creates a file once. Each window of time has a folder, which goes as a whole once its requests are
        refused for their age.
        """
        window = when // self.settings.window
        folder = self.settings.seen / str(window)
        try:
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                self.forget(before=int(time()) // self.settings.window - 3)
            (folder / mac).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def forget(self, before: int) -> None:
        """Remove the folders of earlier windows."""
        for folder in self.settings.seen.iterdir():
            if folder.name.isdecimal() and int(folder.name) < before:
                rmtree(folder, ignore_errors=True)  # another worker may be at it

    def body(self, exchange: Exchange, head: Head) -> BodyFilter | None:
        if head.status is not None:
            return None  # a response's
        refuse_incremental(head)
        return _Held(exchange.state["signed digest"], self.settings.max_body)


class _Held:
    """Keeps a request's body until it is known to be the one that was signed."""

    def __init__(self, digest: str, max_size: int) -> None:
        self.digest = digest
        self.max_size = max_size
        self.kept = bytearray()

    def feed(self, data: bytes) -> bytes:
        self.kept += data
        if len(self.kept) > self.max_size:
            raise RefusedError(refuse(413, "body_too_large", f"a signed body has {self.max_size} bytes or less"))
        return b""

    def end(self) -> bytes:
        own = f"sha-256=:{b64encode(sha256(self.kept).digest()).decode()}:"
        if not hmac.compare_digest(own.encode(), self.digest.encode("latin-1")):
            raise RefusedError(_refused("the body is not the one that was signed"))
        return bytes(self.kept)


def _has_body(exchange: Exchange) -> bool:
    return "Transfer-Encoding" in exchange.headers or exchange.headers.get("Content-Length", "0").strip("0") != ""


def _refused(detail: str) -> Refusal:
    return refuse(401, "signature_invalid", detail, _CHALLENGE)
