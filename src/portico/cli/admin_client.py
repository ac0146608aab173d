"""Asking a running gateway, over its admin API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, Self

import httpx

from portico.config import GatewaySettings

_PATIENCE: Final = 30.0


class AdminError(Exception):
    """The gateway was not reached, or does not do what it was asked for; the message says what to do."""


@dataclass(frozen=True, slots=True)
class AdminClient:
    """Speaks to the admin API at `host` and `port`, with `token` where it wants one."""

    host: str
    port: int
    token: str | None

    @classmethod
    def of(cls, settings: GatewaySettings) -> Self:
        """The gateway that runs by this configuration. Raises AdminError where that does not tell the port."""
        host, port = settings.admin_address
        if not port:
            raise AdminError("gateway.admin has port 0: name the address that portico run announced, --admin HOST:PORT")
        secret = settings.admin_token
        return cls(_reachable(host), port, secret.get_secret_value() if secret is not None else None)

    def reload(self) -> int:
        """Have the configuration read anew; its generation, once every worker serves by it. Raises AdminError."""
        generation: int = self._ask("POST", "/admin/reload")["generation"]
        return generation

    def services(self) -> Any:
        """The document at `/admin/services`. Raises AdminError."""
        return self._ask("GET", "/admin/services")

    def _ask(self, method: str, path: str) -> Any:
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        headers = {b"Authorization": f"Bearer {self.token}".encode()} if self.token else {}
        try:
            with httpx.Client(timeout=_PATIENCE, trust_env=False) as client:
                answer = client.request(method, f"http://{where}{path}", headers=headers)
        except httpx.TimeoutException as error:
            raise AdminError(f"the admin API at {where} does not answer") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AdminError(
                f"no gateway answers at {where} ({error}): is it running, and is this its admin?"
            ) from error
        if answer.status_code == 401:
            raise AdminError(f"the admin API at {where} refuses the token: set ADMIN_TOKEN to the gateway's own")
        document = _document(answer, where)
        if answer.status_code != 200:
            raise AdminError(document["detail"])
        return document


def _document(answer: httpx.Response, where: str) -> Mapping[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or ("generation" if answer.status_code == 200 else "detail") not in document:
        raise AdminError(f"what answers at {where} is no admin API of Portico's")
    return document


def _reachable(host: str) -> str:
    """Where to connect to who listens on `host`: on every address means on loopback too."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return host if not address.is_unspecified else "127.0.0.1" if address.version == 4 else "::1"
