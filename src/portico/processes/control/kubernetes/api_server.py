"""The API server of Kubernetes, as far as it is needed: listing and watching the EndpointSlices of a Service.

The protocol is that of "Kubernetes API concepts", "Efficient detection of changes": a list has a resource version, a
watch from there brings every later change, bookmarks bring later versions, and a watch ends at any time.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from portico import __version__
from portico.config import ApiServerSettings
from portico.config.admin import check_token
from portico.net.tls.causes import reason_of
from portico.net.tls.certificates import CertificateError
from portico.net.tls.contexts import client_context
from portico.processes.control.answers import TooLargeError, whole_body
from portico.processes.control.kubernetes.slices import SERVICE_LABEL, Metadata, Slice

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every container has the token of its pod's account, the cluster's authority, and the name of its namespace."""
_TIMEOUT: Final = 10.0
"""Seconds for a connection, and between two pieces of a list."""
_WATCH_SECONDS: Final = (60, 120)
"""How long a watch is asked to last: so long at most a connection that died without a sign goes unnoticed."""
_GRACE: Final = 15.0
"""Seconds that a watch may last longer than it was asked to."""
_LARGEST_LIST: Final = 64 << 20
_LARGEST_EVENT: Final = 8 << 20
"""Bytes. A slice has a thousand endpoints at most."""
_LONGEST_REASON: Final = 300
_GONE: Final = (410, 504)
"""What a server says to a resource version that is too old for it, or, from another server that is ahead, too new."""

_KEEPALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]


class ApiError(Exception):
    """The API server cannot be asked, or refuses; the message says why, for the operator."""


class StaleError(ApiError):
    """There is no watch from this resource version: list anew."""


class SliceList(msgspec.Struct):
    """An EndpointSliceList."""

    metadata: Metadata
    items: tuple[Slice, ...] | None = None


class Change(msgspec.Struct):
    """One event of a watch."""

    type: str
    object: msgspec.Raw


class Status(msgspec.Struct):
    """Why a request failed."""

    message: str = ""
    reason: str = ""
    code: int = 0


class _Versioned(msgspec.Struct):
    metadata: Metadata = Metadata()


class ApiServer:
    """Where it is and how one signs in there; the files are read for every session anew, as they are rotated."""

    def __init__(
        self, settings: ApiServerSettings, environ: Mapping[str, str] = os.environ, account: Path = ACCOUNT
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._account = account

    def namespace(self) -> str:
        """The namespace of services that name none. Raises ApiError where nothing says it."""
        if self._settings.namespace is not None:
            return self._settings.namespace
        try:
            return (self._account / "namespace").read_text().strip()
        except OSError:
            raise ApiError("which namespace? Outside of a cluster write gateway.kubernetes.namespace") from None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Connections for one list and the watches that follow it. Raises ApiError."""
        url = self._url()
        try:
            verify = client_context(ca=self._authority() if url.startswith("https:") else None)
        except CertificateError as error:
            raise ApiError(str(error)) from None
        transport = httpx.AsyncHTTPTransport(verify=verify, socket_options=_KEEPALIVE, trust_env=False)
        headers = {"User-Agent": f"portico/{__version__}", "Accept": "application/json", "Accept-Encoding": "identity"}
        async with httpx.AsyncClient(
            base_url=url, transport=transport, headers=headers, timeout=_TIMEOUT, trust_env=False
        ) as client:
            yield Session(client, self._authorization)

    def _url(self) -> str:
        if self._settings.url is not None:
            return self._settings.url
        host, port = (self._environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
        if not host:
            raise ApiError("this is no pod of a cluster (no KUBERNETES_SERVICE_HOST): write gateway.kubernetes.url")
        return f"https://{f'[{host}]' if ':' in host else host}:{port or 443}"

    def _authority(self) -> Path | None:
        if self._settings.ca_file is not None:
            return self._settings.ca_file
        own = self._account / "ca.crt"
        return own if own.exists() else None

    def _authorization(self) -> dict[str, str]:
        """The token as it is now: kubelet replaces it long before it expires."""
        file = self._settings.token_file or self._account / "token"
        try:
            token = file.read_text().strip()
        except OSError as error:
            if self._settings.token_file is None and self._settings.url is not None:
                return {}  # kubectl proxy signs in by itself
            raise ApiError(f"the token cannot be read: {file}: {error.strerror or error}") from None
        except ValueError:
            raise ApiError(f"the token cannot be read: {file} is no text") from None
        try:
            return {"Authorization": f"Bearer {check_token(token)}"}
        except ValueError as error:  # httpx would repeat it in its error
            raise ApiError(f"the token cannot be used: {file} {error}") from None


class Session:
    """A connection to the API server; errors become ApiError."""

    def __init__(self, client: httpx.AsyncClient, authorization: Any) -> None:
        self._client = client
        self._authorization = authorization

    async def list(self, namespace: str, service: str) -> SliceList:
        """All slices of a Service as they are now: without a resource version, which some server may not have yet."""
        async with self._stream(namespace, _selected(service), _TIMEOUT) as answer:
            try:
                body = await whole_body(answer, _LARGEST_LIST)
            except TooLargeError:
                raise ApiError(f"the list of slices has more than {_LARGEST_LIST} bytes") from None
        found: SliceList = _decoded(body, SliceList)
        return found

    async def watch(self, namespace: str, service: str, version: str) -> AsyncGenerator[Change | None]:
        """Every change after this resource version, until the server ends the watch; first None, once it has begun.

        Raises StaleError where the version is none to watch from.
        """
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311 - no secret
        wanted = _selected(service) | {
            "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": str(seconds)
        }  # fmt: skip
        async with self._stream(namespace, wanted, seconds + _GRACE) as answer:
            yield None
            async for line in _lines(answer):
                change = _decoded(line, Change)
                if change.type == "ERROR":
                    raise _error_of(_decoded(change.object, Status))
                yield change

    @asynccontextmanager
    async def _stream(
        self, namespace: str, wanted: dict[str, str], read_timeout: float
    ) -> AsyncIterator[httpx.Response]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{quote(namespace)}/endpointslices"
        timeout = httpx.Timeout(_TIMEOUT, read=read_timeout)
        try:
            async with self._client.stream(
                "GET", path, params=wanted, headers=self._authorization(), timeout=timeout
            ) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise _error_of(await _status(answer))
                yield answer
        except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiError(f"{self._client.base_url}: {reason_of(error)}") from None


def _selected(service: str) -> dict[str, str]:
    return {"labelSelector": f"{SERVICE_LABEL}={service}"}


async def _lines(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of a watch; one that has begun when the connection breaks is not among them."""
    buffered = b""
    try:
        async for piece in answer.aiter_raw():
            *lines, buffered = (buffered + piece).split(b"\n")
            for line in filter(None, lines):
                yield line
            if len(buffered) > _LARGEST_EVENT:
                raise ApiError(f"an event of the watch has more than {_LARGEST_EVENT} bytes")
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return  # as if the server had ended it: the next watch begins where this one was


async def _status(answer: httpx.Response) -> Status:
    """What a response other than 200 says."""
    try:
        said = msgspec.json.decode(await whole_body(answer, _LARGEST_EVENT), type=Status)
    except (msgspec.DecodeError, TooLargeError):
        said = Status()
    return Status(said.message, said.reason, answer.status_code)


def _error_of(status: Status) -> ApiError:
    said = status.message or status.reason or "no reason is given"
    text = f"{status.code or 'an error'}: {said[:_LONGEST_REASON]}"
    if status.code == httpx.codes.FORBIDDEN:
        text += " (does the pod's account have a Role to list and watch endpointslices?)"
    return StaleError(text) if status.code in _GONE or status.reason in ("Expired", "Gone") else ApiError(text)


def _decoded(text: bytes | bytearray | msgspec.Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(f"the API server says what cannot be read: {error}") from None


def version_of(change: Change) -> str:
    """The resource version after a change."""
    return str(_decoded(change.object, _Versioned).metadata.resource_version)


def slice_of(change: Change) -> Slice:
    """The slice that a change is about. Raises ApiError."""
    found: Slice = _decoded(change.object, Slice)
    return found
