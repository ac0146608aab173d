"""The fixture `gateway` for pytest: `pytest_plugins = ["portico.testing.fixtures"]` in a project's conftest.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from portico.policies.plugins.base import Policy
from portico.testing.running import RunningGateway
from portico.testing.units import make_policy


class StartGateway(Protocol):
    """The fixture: what starts a gateway with some policies, in their order, before a service of its own."""

    def __call__(
        self,
        *policies: Policy | type[Policy],
        config: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> RunningGateway:
        """A gateway that runs until the test ends. `settings` are those of the policies that are given as a class.

        `config` are further keys of its configuration: `{"policies": {"auth": {...}}}`. `options` are what stands
        beside `use` and `with`: `{"before": "auth", "timeout": 0.5}`.
        """


@pytest.fixture
def gateway() -> Iterator[StartGateway]:
    """Starts a gateway in this process: `gateway(MyPolicy, some_setting=5).client.get("/x")`."""
    with ExitStack() as running:

        def start(
            *policies: Policy | type[Policy],
            config: Mapping[str, Any] | None = None,
            options: Mapping[str, Any] | None = None,
            **settings: Any,
        ) -> RunningGateway:
            made = [make_policy(each, **settings) if isinstance(each, type) else each for each in policies]
            return running.enter_context(RunningGateway(made, config, options))

        yield start
