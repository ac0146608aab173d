"""What a policy of one's own has beside its settings: state, a log, metrics and an HTTP client."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from portico.observe.families import Definitions, Families

if TYPE_CHECKING:
    from httpx import AsyncClient


class PolicyLog(logging.LoggerAdapter[logging.Logger]):
    """Events that look like the gateway's own, with the policy's name in each; `extra` holds further fields."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


class HttpClient:
    """The HTTP client of one worker, made when it is first asked for."""

    def __init__(self) -> None:
        self._made: AsyncClient | None = None

    def __call__(self) -> AsyncClient:
        if self._made is None:
            import httpx  # only where a policy uses it

            self._made = httpx.AsyncClient()
        return self._made

    async def close(self) -> None:
        """Close its connections."""
        made, self._made = self._made, None
        if made is not None:
            await made.aclose()


class PluginContext:
    """One policy's surroundings in one worker.

    `name` is how it is called in events and metrics. `state` is a dict that survives reloads: it belongs to the policy
    as it is used at one level of the configuration. `log` writes events. `metrics` defines counters and histograms of
    one's own, which `/metrics` adds up over all workers.
    """

    def __init__(
        self,
        name: str,
        state: dict[str, Any],
        metrics: Definitions | None = None,
        client: Callable[[], AsyncClient] | None = None,
    ) -> None:
        self.name = name
        self.state = state
        self.log = PolicyLog(logging.getLogger(f"portico.policies.{name}"), {"policy": name})
        self.metrics = metrics or Definitions(Families())
        self._client = client or HttpClient()

    @property
    def http(self) -> AsyncClient:
        """An HTTP client that all policies of a worker share, so that its connections are reused; do not close it."""
        return self._client()
