"""What clients see while things break: the short form of `make chaos`. No time is asserted."""

from __future__ import annotations

import pytest

from chaos.fault import Fault
from chaos.faults import FAULTS
from chaos.row import as_table

_SECONDS = 0.5
_SHORT = ("killed", "worker-killed", "rolling-restart", "drain")


def _cases() -> list[object]:
    """What Portico does not have yet is expected to fail, and no longer once it has it."""
    chosen = [fault for fault in FAULTS if fault.name in _SHORT]
    assert len(chosen) == len(_SHORT)
    return [pytest.param(each, id=each.name, marks=_marks(each)) for each in chosen]


def _marks(fault: Fault) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xfail(reason=f"needs {fault.needs}", strict=True)] if fault.needs else []


@pytest.mark.parametrize("fault", _cases())
def test_clients_see_no_more_of_it_than_is_promised(fault: Fault) -> None:
    row = fault.run(fault, fault.starts[0], _SECONDS)
    assert not row.has_failed(), as_table([row])
