"""The context of a policy in a test: what would be one worker's is its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from portico.observe.families import Definitions, Families
from portico.policies.plugins.context import HttpClient, PluginContext


class LocalContext(PluginContext):
    """A context of one policy alone."""

    def __init__(self, name: str, state: dict[str, Any], http: httpx.AsyncClient | None) -> None:
        self.families = Families()
        self._own_client = HttpClient()
        metrics = Definitions(self.families)
        metrics.take_effect()
        super().__init__(name, state, metrics, self._own_client if http is None else lambda: http)

    async def close(self) -> None:
        """Close the HTTP client, unless the test gave one."""
        await self._own_client.close()

    def metric(self, name: str, /, **labels: object) -> float:
        """What a counter has come to, or how many values a histogram has got; 0 where it has no such series.

        Raises LookupError where the policy has defined no such metric.
        """
        value = total(self.families, name, labels)
        if value is None:
            raise LookupError(f"the policy {self.name} has defined no metric {name}")
        return value


def total(families: Families, name: str, labels: Mapping[str, object]) -> float | None:
    """What a metric has come to in the series with these labels; None where there is no such metric."""
    for known, _, names, _, _, series in families.dump():
        if known == name.removesuffix("_total"):
            wanted = [str(labels.get(each)) for each in names]
            values = [value for key, value in series if list(key) == wanted]
            return sum(sum(value[0]) if isinstance(value, list) else value for value in values)
    return None


def make_context(
    name: str = "policy", *, state: dict[str, Any] | None = None, http: httpx.AsyncClient | None = None
) -> LocalContext:
    """The context for `make_policy`. `http` takes the place of the client that policies look things up with.

    `httpx.AsyncClient(transport=httpx.MockTransport(answer))` asks a function instead of a server.
    """
    return LocalContext(name, {} if state is None else state, http)
