"""What holds for every test: how long examples may take, and how tests are spread over processes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# No test asserts a time, nor does Hypothesis for it: on a busy machine an example may take long. The rest stays as it
# is here, or in CI, where Hypothesis has a profile of its own.
settings.register_profile("portico", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portico")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what is made once for their module run in one process (`--dist loadgroup`): it is made once."""
    for item in items:
        if isinstance(item, pytest.Function) and _shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


def _shares_a_fixture(item: pytest.Function) -> bool:
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return any(each.scope == "module" for definition in definitions for each in definition)
