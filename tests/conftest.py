"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.fork_server import forking_from
from support.portico import environment

# No test asserts a time, nor does Hypothesis for it: on a busy machine an example may take long. The rest stays as it
# is here, or in CI, where Hypothesis has a profile of its own.
settings.register_profile("portico", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portico")


@pytest.fixture(scope="session", autouse=True)
def forked_gateways() -> Iterator[None]:
    """Gateways and commands start without importing everything again."""
    with forking_from(environment()):
        yield
