"""What holds for every test: how long examples may take, and how tests are spread over processes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# No test asserts a time, nor does Hypothesis for it: on a busy machine an example may take long. The rest stays as it
# is here, or in CI, where Hypothesis has a profile of its own.
settings.register_profile("portico", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portico")

ROOT = Path(__file__).parents[1]


class BySharedFixture(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of a module that share what is started once for it run in one process, all others where there is room.

    A gateway that a module shares would start in every process else. (`--dist loadgroup` is meant for this and groups
    nothing with pytest 9.2: findings/xdist-loadgroup.sh.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _shares(file) else nodeid


@cache
def _shares(file: str) -> bool:
    return 'scope="module"' in (ROOT / file).read_text(encoding="utf-8")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySharedFixture | None:
    """With `--dist loadscope`; all other ways to spread tests are left as they are."""
    return BySharedFixture(config, log) if config.getoption("dist") == "loadscope" else None
