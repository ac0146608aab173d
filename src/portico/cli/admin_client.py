"""Requests to a running gateway, over its admin API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from portico.cli.user import user_here
from portico.config import GatewaySettings
from portico.config.admin import check_token
from portico.core.hosts import host_and_port

_DONE: Final = (200, 202)
_TIMEOUT: Final = 60.0
"""Seconds: more than a reload takes at most."""
_QUIET: Final = 30.0
"""Seconds: a stream says more often that it is there."""
_AS_YAML: Final = {"Content-Type": "application/yaml"}
_USER: Final = "X-Portico-User"
"""The field that says who sits before the terminal, for history and audit log."""


class AdminError(Exception):
    """The gateway was not reached, or refused the request; the message says what to do."""


class RefusedError(AdminError):
    """It refused the request: with this status, and a document that says why."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(document["detail"])
        self.status = status
        self.document = document


@dataclass(frozen=True, slots=True)
class AdminClient:
    """A client of the admin API at `host` and `port`, with `token` where it requires one."""

    host: str
    port: int
    token: str | None

    @classmethod
    def of(cls, settings: GatewaySettings) -> Self:
        """The gateway that runs with this configuration. Raises AdminError where it does not fix the port."""
        host, port = settings.admin_address
        if not port:
            raise AdminError("gateway.admin has port 0: name the address that portico run announced, --admin HOST:PORT")
        return cls(_reachable(host), port, settings.own_admin_token)

    @property
    def where(self) -> str:
        """The address as `host:port`."""
        return host_and_port(self.host, self.port)

    def file(self) -> Path | None:
        """The configuration file of the gateway that answers, None where it runs without one. Raises AdminError."""
        written = self.status().get("config")
        return Path(written) if written else None

    def reload(self) -> int:
        """Reload the configuration; returns its generation, once every worker uses it. Raises AdminError."""
        generation: int = self._request("POST", "/admin/reload")["generation"]
        return generation

    def status(self) -> Any:
        """The document at `/admin/status`. Raises AdminError."""
        return self._request("GET", "/admin/status")

    def live(self) -> Any:
        """The document at `/admin/live`. Raises AdminError."""
        return self._request("GET", "/admin/live", has="total")

    def limits(self) -> Any:
        """The document at `/admin/limits`, with the fullest key of each. Raises AdminError."""
        return self._request("GET", "/admin/limits", has="limits", params={"most": 1})

    def exchanges(self, wanted: Mapping[str, Any]) -> Iterator[str]:
        """The records of `/admin/exchanges` in JSON, as exchanges end; an empty one says that it still listens.

        Raises AdminError; where the gateway ends the stream it ends.
        """
        with self._reaching(_QUIET) as client:
            accept = {"Accept": "text/event-stream"}
            with client.stream("GET", self._url("/admin/exchanges"), params=wanted, headers=accept) as response:
                if response.status_code not in _DONE:
                    response.read()
                    _checked(response, self.where, "")
                for line in response.iter_lines():
                    if line.startswith(("data:", ":")):
                        yield line.partition(":")[2].strip()

    def configuration(self) -> tuple[Any, str]:
        """The document in force, and its tag. Raises AdminError."""
        with self._reaching(_TIMEOUT) as client:
            response = client.get(self._url("/admin/config"))
            return _checked(response, self.where, None), response.headers.get("etag", "")

    def configuration_text(self) -> tuple[str, str]:
        """The text of the file in force, secrets masked, and its tag. Raises AdminError."""
        with self._reaching(_TIMEOUT) as client:
            response = client.get(self._url("/admin/config"), params={"form": "file"})
            if response.status_code not in _DONE:
                _checked(response, self.where, "")
            return response.text, response.headers.get("etag", "")

    def plan(self, text: str) -> Any:
        """What a file with this text would change. Raises AdminError."""
        return self._request("POST", "/admin/config/plan", has="changes", content=text.encode(), headers=_AS_YAML)

    def apply(self, text: str, tag: str, why: str) -> Any:
        """Have a file with this text come into force in place of what has this tag. Raises AdminError."""
        headers = {**_AS_YAML, "If-Match": tag}
        return self._request("PUT", "/admin/config", content=text.encode(), headers=headers, params={"why": why})

    def rollback(self, number: int | None, tag: str, why: str, *, dry_run: bool) -> Any:
        """Have an earlier configuration come into force, or say what that would change. Raises AdminError."""
        asked, headers = {"to": number, "why": why}, {"If-Match": tag}
        wanted = {"dry_run": "1"} if dry_run else {}
        return self._request("POST", "/admin/config/rollback", json=asked, headers=headers, params=wanted)

    def history(self) -> Any:
        """The configurations that were in force, the newest first. Raises AdminError."""
        return self._request("GET", "/admin/config/history")

    def history_entry(self, number: int) -> Any:
        """One of them, with its text and what it changed. Raises AdminError."""
        return self._request("GET", f"/admin/config/history/{number}", has="text")

    def services(self) -> Any:
        """The document at `/admin/services`. Raises AdminError."""
        return self._request("GET", "/admin/services")

    def purge(self, wanted: Mapping[str, Any]) -> Any:
        """Purge what `POST /admin/cache/purge` takes; what came of it. Raises AdminError."""
        return self._request("POST", "/admin/cache/purge", json=wanted)

    def cache_stats(self) -> Any:
        """The document at `/admin/cache/stats`. Raises AdminError."""
        return self._request("GET", "/admin/cache/stats")

    def cache_show(self, url: str, method: str, headers: Sequence[str]) -> Any:
        """The document at `/admin/cache/show`. Raises AdminError."""
        wanted = {"url": url, "method": method, "header": [*headers]}
        return self._request("GET", "/admin/cache/show", params=wanted)

    def explain(self, asked: Mapping[str, Any]) -> Any:
        """What `POST /admin/explain` says of a request. Raises AdminError."""
        return self._request("POST", "/admin/explain", json=asked)

    def canaries(self) -> Any:
        """The document at `/admin/canaries`. Raises AdminError."""
        return self._request("GET", "/admin/canaries")

    def steer_canary(self, route: str, action: str, who: str, why: str) -> Any:
        """Abort, retry, promote, pause or resume the canary of a route; what came of it. Raises AdminError."""
        asked = {"who": who, "why": why}
        return self._request("POST", f"/admin/canaries/{quote(route, safe='')}/{action}", json=asked)

    def issue_token(self, wanted: Mapping[str, Any]) -> Any:
        """The token that `POST /admin/tokens` issues. Raises AdminError."""
        return self._request("POST", "/admin/tokens", json=wanted)

    def revoke_tokens(self, wanted: Mapping[str, Any]) -> Any:
        """Revoke what `POST /admin/tokens/revoke` takes; what came of it. Raises AdminError."""
        return self._request("POST", "/admin/tokens/revoke", json=wanted)

    def rotate_token_keys(self, *, withdraw: bool) -> Any:
        """Have another key sign tokens; the keys that there are then. Raises AdminError."""
        return self._request("POST", "/admin/tokens/rotate", json={"withdraw": withdraw})

    def api_keys(self) -> Any:
        """The document at `/admin/keys`. Raises AdminError."""
        return self._request("GET", "/admin/keys")

    def change_keys(self, path: str, asked: Mapping[str, Any]) -> Any:
        """What `POST` to a path below `/admin/keys` does; what came of it. Raises AdminError."""
        return self._request("POST", f"/admin/keys{path}", json=asked)

    def _request(self, method: str, path: str, *, has: str = "generation", **more: Any) -> Any:
        """The document that is answered, which `has` this key."""
        with self._reaching(_TIMEOUT) as client:
            return _checked(client.request(method, self._url(path), **more), self.where, has)

    def _url(self, path: str) -> str:
        return f"http://{self.where}{path}"

    @contextmanager
    def _reaching(self, timeout: float | None) -> Iterator[httpx.Client]:
        """A client for requests to it, with `timeout` in seconds for each answer. Raises AdminError."""
        where = self.where
        try:
            shown = {"Authorization": f"Bearer {check_token(self.token)}"} if self.token else {}
        except ValueError as error:
            raise AdminError(f"ADMIN_TOKEN: {error}") from None
        headers = {name.encode(): text.encode() for name, text in {_USER: user_here(), **shown}.items()}
        limits = httpx.Timeout(_TIMEOUT, read=timeout)
        try:  # nothing is verified without TLS: not to read the authorities saves most of the time
            with httpx.Client(timeout=limits, trust_env=False, verify=False, headers=headers) as client:  # noqa: S501
                yield client
        except httpx.TimeoutException as error:
            raise AdminError(f"the admin API at {where} does not answer") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AdminError(
                f"no gateway answers at {where} ({error}): is it running, and is this its admin address?"
            ) from error


def _checked(response: httpx.Response, where: str, has: str | None) -> Mapping[str, Any]:
    """The document of a response, if it is one of the admin API, which `has` a key if it is known.

    Raises AdminError, RefusedError where it says no.
    """
    if response.status_code == 401:
        raise AdminError(f"the admin API at {where} refuses the token: set ADMIN_TOKEN to the gateway's own")
    try:
        document = response.json()
    except ValueError:
        document = None
    is_done = response.status_code in _DONE
    key = has if is_done else "detail"
    if not isinstance(document, dict) or (key is not None and key not in document):
        raise AdminError(f"the server at {where} is not Portico's admin API")
    if not is_done:
        raise RefusedError(response.status_code, document)
    return document


def _reachable(host: str) -> str:
    """Where to connect to a server that listens on `host`: on every address includes loopback."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return host if not address.is_unspecified else "127.0.0.1" if address.version == 4 else "::1"
