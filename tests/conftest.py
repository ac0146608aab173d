"""What holds for every test."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.fork_server import forking_from
from support.portico import environment

# No test asserts a time, nor does Hypothesis for it: on a busy machine an example may take long. The rest stays as it
# is here, or in CI, where Hypothesis has a profile of its own.
settings.register_profile("portico", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portico")


def pytest_configure() -> None:
    """Ctrl-C ends commands, also where the tests run in the background, in which shells ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def forked_gateways() -> Iterator[None]:
    """Gateways and commands start without importing everything again."""
    with forking_from(environment()):
        yield


@pytest.fixture(autouse=True, scope="module")
def collected_after_the_module() -> Iterator[None]:
    """What fixtures of a module leave open is reported by one of its own tests, too.

    What there was before, imported modules above all, is not scanned again: that would take 60 ms each time.
    """
    gc.freeze()
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def collected_after_the_test() -> Iterator[None]:
    """A test that leaves a connection or a file open fails itself: collected later, it would fail another one.

    What has become old within the test is left to the end of its module: looking at all takes 2 ms, 30 s in all tests.
    """
    yield
    gc.collect(1)
