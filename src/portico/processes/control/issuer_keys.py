"""The keys that issuers of tokens publish: fetched here, once for all workers, and kept while an issuer is away."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from portico import __version__
from portico.config import Config
from portico.core.tasks import cancelled, endless
from portico.net.tls.causes import reason_of
from portico.policies.auth import AuthSettings
from portico.policies.auth.key_sets import OWN_KEYS, KeySource
from portico.policies.auth.keys import KeySet, key_set
from portico.processes.control.answers import TooLargeError, whole_body
from portico.processes.control.workers import Workers

logger: Final = logging.getLogger("portico.auth")

_TIMEOUT: Final = 5.0
"""Seconds for one answer of an issuer."""
_LARGEST: Final = 1 << 20
"""Bytes of an answer."""
_PAUSE: Final = 1.0
"""Seconds between two fetches at least, whoever asks: tokens with invented keys are no load for the issuer."""
_LONGEST_PAUSE: Final = 30.0
"""Seconds between two fetches at most while they fail."""
_LOGGED: Final = 10
"""Keys of a set of which an event says why they are not used."""


class IssuerKeys:
    """Follows all issuers of the configuration, and gives the workers their keys."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._followed: dict[KeySource, _Followed] = {}
        workers.keys_wanted = self._wanted

    async def follow(self, config: Config) -> None:
        """Fetch the keys of these issuers from now on."""
        sources = dict(_sources(config))
        ended = [self._followed.pop(source) for source in [*self._followed] if source not in sources]
        for each in ended:
            self._workers.forget_keys(each.source)
        await cancelled([each.task for each in ended])
        for source, refresh in sources.items():
            if source not in self._followed:
                self._followed[source] = _Followed(source, self._workers)
            self._followed[source].refresh = refresh

    def states(self) -> list[dict[str, Any]]:
        """For the admin API: each issuer, whether its keys are there, and since when they could not be fetched."""
        return [each.state() for each in self._followed.values()]

    async def close(self) -> None:
        """Stop."""
        await cancelled([each.task for each in self._followed.values()])

    def _wanted(self, source: KeySource) -> None:
        if source in self._followed:
            self._followed[source].wanted.set()
        else:
            self._workers.send_keys(source)


def _sources(config: Config) -> Iterator[tuple[KeySource, float]]:
    for route in config.all_routes:
        settings, _ = route.policies.get("auth", (None, ""))
        jwt = settings.jwt if isinstance(settings, AuthSettings) else None
        if jwt is None:
            continue
        for acceptance, issuer in ((jwt, jwt.issuer), *((each, each.issuer) for each in jwt.issuers)):
            source = acceptance.source(issuer)
            if source not in (None, OWN_KEYS):
                yield source, acceptance.refresh


class _FetchError(Exception):
    """The keys could not be had; the message says why, for the operator."""


class _Followed:
    """One issuer: its keys are fetched every `refresh` seconds, and when a token names one that is not there."""

    def __init__(self, source: KeySource, workers: Workers) -> None:
        self.source = source
        self.refresh = 300.0
        self.wanted = asyncio.Event()
        self._workers = workers
        self._keys: KeySet | None = None
        self._fetched: float | None = None
        self._asked = 0.0
        """When the last fetch began (monotonic)."""
        self._problem = ""
        self._failures = 0
        self.task = endless(self._keep_fetching(), f"keys of {source.issuer or source.address}")

    def state(self) -> dict[str, Any]:
        """For the admin API."""
        state: dict[str, Any] = {"issuer": self.source.issuer} if self.source.issuer else {}
        state |= {"address": self.source.address, "keys": len(self._keys.keys) if self._keys is not None else 0}
        if self._fetched is not None:
            state["age"] = round(time.time() - self._fetched, 3)
        if self._problem:
            state["problem"] = self._problem
        return state

    async def _keep_fetching(self) -> None:
        while True:
            self.wanted.clear()
            self._asked = time.monotonic()
            try:
                document = await self._fetch()
                self._has_come(document)
            except _FetchError as error:
                self._has_failed(str(error))
            except Exception as error:
                logger.exception("the keys of an issuer could not be fetched", extra=self._extra())
                self._has_failed(repr(error))
            await asyncio.sleep(_PAUSE)
            pause = min(_PAUSE * 2.0**self._failures, _LONGEST_PAUSE) if self._failures else self.refresh
            try:
                async with asyncio.timeout(max(0.0, pause - _PAUSE)):
                    await self.wanted.wait()
            except TimeoutError:
                continue

    def _has_come(self, document: bytes) -> None:
        try:
            keys = key_set(document)
        except ValueError as error:
            raise _FetchError(f"what is there cannot be used: {error}") from None
        if self._problem or self._keys is None or keys != self._keys:
            self._say_news(keys)
        self._keys, self._problem, self._failures, self._fetched = keys, "", 0, time.time()
        self._workers.publish_keys(self.source, document, self._asked)

    def _say_news(self, keys: KeySet) -> None:
        known = {key.kid for key in self._keys.keys} if self._keys is not None else set()
        names = {key.kid for key in keys.keys}
        extra: dict[str, Any] = self._extra() | {"keys": len(names)}
        if known:
            extra |= {"new": _listed(names - known), "withdrawn": _listed(known - names)}
        if keys.left_out:
            extra["left_out"] = "; ".join(keys.left_out[:_LOGGED])
        logger.info("the keys of an issuer are there", extra=extra)

    def _has_failed(self, problem: str) -> None:
        if problem != self._problem:
            kept = "none are there" if self._keys is None else "the last ones are used"
            extra = self._extra() | {"reason": problem}
            logger.error(f"the keys of an issuer could not be fetched: {kept}", extra=extra)
        self._problem, self._failures = problem, self._failures + 1
        self._workers.no_keys(self.source, self._asked)

    def _extra(self) -> dict[str, Any]:
        return {"address": self.source.address}

    async def _fetch(self) -> bytes:
        async with httpx.AsyncClient(timeout=_TIMEOUT, headers={"User-Agent": f"portico/{__version__}"}) as client:
            if not self.source.discovered:
                return await _body(client, self.source.address)
            return await _body(client, await self._address_of_keys(client))

    async def _address_of_keys(self, client: httpx.AsyncClient) -> str:
        """Raises _FetchError where the metadata is not that of this issuer (OpenID Connect Discovery, section 4.3)."""
        said: Any = None
        address = self.source.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            said = await _object(client, address)
        except _FetchError as error:
            try:
                said = await _object(client, _oauth_metadata(self.source.issuer))
            except _FetchError as other:
                raise _FetchError(f"{error}; {other}") from None
        issuer, keys = said.get("issuer"), said.get("jwks_uri")
        if issuer != self.source.issuer:
            hint = "" if not isinstance(issuer, str) else f": write issuer: {issuer} if that is the one"
            raise _FetchError(f"its metadata says issuer {issuer!r}, and {self.source.issuer!r} is configured{hint}")
        if not isinstance(keys, str) or urlsplit(keys).scheme not in ("https", urlsplit(self.source.issuer).scheme):
            raise _FetchError("its metadata has no jwks_uri, or one that is no safer address than its own")
        return keys


def _oauth_metadata(issuer: str) -> str:
    """Where RFC 8414, section 3.1, has the metadata of an issuer: in front of its path."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"


def _listed(names: set[str | None]) -> str:
    return ", ".join(sorted(name if name is not None else "(no kid)" for name in names)[:_LOGGED])


async def _object(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    try:
        said = json.loads(await _body(client, address))
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise _FetchError(f"{address} is no JSON object")
    return said


async def _body(client: httpx.AsyncClient, address: str) -> bytes:
    try:
        async with asyncio.timeout(_TIMEOUT), client.stream("GET", address, headers={"Accept": "*/*"}) as answer:
            if answer.is_redirect:
                raise _FetchError(f"{address} redirects: write the address that it leads to")
            if answer.status_code != httpx.codes.OK:
                raise _FetchError(f"{address} answers {answer.status_code}")
            return await whole_body(answer, _LARGEST)
    except TooLargeError:
        raise _FetchError(f"{address} sends more than {_LARGEST} bytes") from None
    except TimeoutError:
        raise _FetchError(f"{address} has not answered within {_TIMEOUT:g} s") from None
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise _FetchError(f"{address}: {reason_of(error)}") from None
