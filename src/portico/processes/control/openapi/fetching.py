"""One fetch of a service's document, from the first of its instances that has one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from portico.config.openapi import OpenApiSettings
from portico.net.tls.causes import reason_of
from portico.net.tls.certificates import CertificateError
from portico.openapi.text import MOST_BYTES
from portico.processes.control.answers import TooLargeError, whole_body
from portico.processes.control.check import Check
from portico.processes.control.instance_clients import InstanceClients

TIMEOUT: Final = 10.0
"""Seconds for the whole of one answer."""
_MOST_ASKED: Final = 3
"""Instances that are asked in one fetch, one after the other."""
_ACCEPT: Final = "application/json, application/vnd.oai.openapi+json, application/yaml;q=0.9, */*;q=0.1"
_TAG: Final = re.compile(r'(?:W/)?"[!#-~]{0,200}"')


class FetchError(Exception):
    """There is no document; the message says why, to the operator, and `in_short` to everybody.

    `is_absent`: the service answered that there is none, which will hardly change in a second.
    """

    def __init__(self, message: str, in_short: str, *, is_absent: bool = False) -> None:
        super().__init__(message)
        self.in_short = in_short
        self.is_absent = is_absent


@dataclass(frozen=True, slots=True)
class Fetched:
    """The text of a document, None where it is the one that is known, and the `etag` that it came with."""

    text: bytes | None
    etag: str


async def fetch(clients: InstanceClients, instances: Sequence[Check], settings: OpenApiSettings, etag: str) -> Fetched:
    """Fetch a document that may be known by this `etag`. Instances that are healthy are asked first.

    Raises FetchError.
    """
    order = sorted(instances, key=lambda each: not each.shown_healthy)
    if not order:
        raise FetchError("it has no instances", "no instances")
    errors: list[FetchError] = []
    for instance in order[:_MOST_ASKED]:
        try:
            return await _fetch_from(clients, instance, settings, etag)
        except FetchError as error:
            errors.append(error)
    raise errors[0]


async def _fetch_from(clients: InstanceClients, check: Check, settings: OpenApiSettings, etag: str) -> Fetched:
    fields = {"Accept": _ACCEPT, **({"If-None-Match": etag} if etag else {})}
    where = f"{check.instance.url.rstrip('/')}{settings.shown_path}"
    try:
        async with clients.turns, asyncio.timeout(TIMEOUT):
            return await clients.get(
                check.instance,
                check.tls,
                check.named,
                settings.path,
                TIMEOUT,
                lambda got: _take(got, where, etag),
                fields,
            )
    except TimeoutError:
        raise FetchError(f"{where} has not answered within {TIMEOUT:g} s", "it does not answer in time") from None
    except (OSError, ValueError, httpx.HTTPError, CertificateError) as failure:
        raise FetchError(f"{where}: {reason_of(failure)}", "it does not answer") from None


async def _take(response: httpx.Response, where: str, etag: str) -> Fetched:
    status = response.status_code
    if status == httpx.codes.NOT_MODIFIED and etag:
        return Fetched(None, etag)
    if response.is_redirect:
        message = (
            f"{where} redirects to {response.headers.get('Location', '')[:200]!r}: write openapi: PATH for where it is"
        )
        raise FetchError(message, "it is elsewhere")
    if status != httpx.codes.OK:
        is_absent = status == httpx.codes.NOT_FOUND
        hint = ": write openapi: PATH for where it is, or false for none" if is_absent else ""
        raise FetchError(f"{where} answered {status}{hint}", f"it answered {status}", is_absent=is_absent)
    try:
        body = await whole_body(response, MOST_BYTES)
    except TooLargeError:
        raise FetchError(f"{where} has more than {MOST_BYTES >> 20} MiB", "its document is too large") from None
    tag = response.headers.get("ETag", "")
    return Fetched(body, tag if _TAG.fullmatch(tag) else "")
