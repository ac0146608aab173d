"""Personal data in JSON responses, masked for all but those who may see it.

    policies:
      auth: {jwt: {}}
      plugins:
        - use: "./policies/masking.py:MaskPersonalData"
          with: {fields: [email, phone, iban], seen_by: personal:read}

A response that should be masked and cannot be is not sent: neither a compressed one, nor a part of one, nor what is no
JSON though it says so. What does not say that it is JSON (HTML, CSV, event streams) passes as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from pydantic import Field

import portico
from portico.plugin import (
    BodyFilter,
    Exchange,
    Head,
    Policy,
    Refusal,
    RefusedError,
    ResponseHead,
    Size,
    Verdict,
    refuse,
)

MASK: Final = "***"
# Numbers go out as they came: as floating point, 0.10 would become 0.1 and a long one would be rounded.
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


class MaskPersonalData(Policy):
    """Replaces the values of some keys, however deep, by `***`."""

    class Settings(portico.Settings):
        """`fields` are keys in any case, with or without `_` and `-`: `e-mail` is `EMail` and `e_mail`.

        Consumers with the scope `seen_by` see everything. Bodies up to `max_body` can be masked.
        """

        fields: Annotated[list[str], Field(min_length=1)]
        seen_by: str | None = None
        max_body: Size = 1024 * 1024

    settings: Settings

    async def open(self) -> None:
        self.names = frozenset(map(_plain, self.settings.fields))

    def sees_all(self, exchange: Exchange) -> bool:
        """Whether nothing is masked for this consumer."""
        return self.settings.seen_by in exchange.scopes

    def request(self, exchange: Exchange) -> None:
        if self.sees_all(exchange):
            return
        exchange.upstream_headers.set("Accept-Encoding", "identity")  # what is compressed cannot be read here
        exchange.upstream_headers.remove("Range")  # and half a document is no document
        exchange.upstream_headers.remove("If-Range")

    def response(self, exchange: Exchange, head: ResponseHead) -> Verdict:
        if head.is_own:
            return None
        if self.settings.seen_by is not None and "Authorization" not in head.headers.get("Vary", ""):
            head.headers.add("Vary", "Authorization")  # one address, two answers
        if self.sees_all(exchange):
            return None
        if head.status == 206:
            return _unmasked("the service sent a part of its answer")
        if not _is_json(head):
            return None
        if head.headers.get("Content-Encoding", "identity").lower() != "identity":
            return _unmasked("the service compressed its answer, though asked not to")
        if int(head.headers.get("Content-Length", "0")) > self.settings.max_body:
            return _unmasked("the service's answer is too long")
        return None

    def body(self, exchange: Exchange, head: Head) -> BodyFilter | None:
        if head.status is None or self.sees_all(exchange) or not _is_json(head):
            return None
        return _Masked(self.names, self.settings.max_body)


class _Masked:
    """Keeps a body until it is whole, and sends it on masked."""

    def __init__(self, names: Collection[str], max_size: int) -> None:
        self.names = names
        self.max_size = max_size
        self.kept = bytearray()

    def feed(self, data: bytes) -> bytes:
        self.kept += data
        if len(self.kept) > self.max_size:
            raise RefusedError(_unmasked("the service's answer is too long"))
        return b""

    def end(self) -> bytes:
        if not self.kept:
            return b""
        try:
            return _ENCODER.encode(masked(_DECODER.decode(self.kept), self.names))
        except (msgspec.MsgspecError, RecursionError):
            raise RefusedError(_unmasked("the service's answer is no JSON")) from None


def masked(value: Any, names: Collection[str]) -> Any:
    """The same value without personal data; null stays null, so that what is not known can still be seen."""
    if isinstance(value, dict):
        return {
            key: MASK if inner is not None and _plain(key) in names else masked(inner, names)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [masked(each, names) for each in value]
    return value


def _plain(key: str) -> str:
    return key.replace("_", "").replace("-", "").casefold()


def _is_json(head: Head) -> bool:
    types = [value.partition(";")[0].strip().lower() for value in head.headers.get_all("Content-Type")]
    return any(kind in ("application/json", "text/json") or kind.endswith("+json") for kind in types)


def _unmasked(detail: str) -> Refusal:
    return refuse(502, "not_masked", f"{detail}, so that personal data in it cannot be masked")
