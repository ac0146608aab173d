"""Requests to a running gateway, over its admin API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from portico.config import GatewaySettings
from portico.config.admin import check_token
from portico.core.hosts import host_and_port

_DONE: Final = (200, 202)
_TIMEOUT: Final = 60.0
"""Seconds: more than a reload takes at most."""


class AdminError(Exception):
    """The gateway was not reached, or refused the request; the message says what to do."""


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

    def _request(self, method: str, path: str, **more: Any) -> Any:
        where = self.where
        try:
            headers = {b"Authorization": f"Bearer {check_token(self.token)}".encode()} if self.token else {}
        except ValueError as error:
            raise AdminError(f"ADMIN_TOKEN: {error}") from None
        try:
            with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
                response = client.request(method, f"http://{where}{path}", headers=headers, **more)
        except httpx.TimeoutException as error:
            raise AdminError(f"the admin API at {where} does not answer") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AdminError(
                f"no gateway answers at {where} ({error}): is it running, and is this its admin address?"
            ) from error
        if response.status_code == 401:
            raise AdminError(f"the admin API at {where} refuses the token: set ADMIN_TOKEN to the gateway's own")
        document = _document(response, where)
        if response.status_code not in _DONE:
            raise AdminError(document["detail"])
        return document


def _document(response: httpx.Response, where: str) -> Mapping[str, Any]:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or ("generation" if response.status_code in _DONE else "detail") not in document:
        raise AdminError(f"the server at {where} is not Portico's admin API")
    return document


def _reachable(host: str) -> str:
    """Where to connect to a server that listens on `host`: on every address includes loopback."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return host if not address.is_unspecified else "127.0.0.1" if address.version == 4 else "::1"
