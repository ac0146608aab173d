"""What clients see while things break: the short form of `make chaos`. No time is asserted."""

from __future__ import annotations

import pytest

from chaos.fault import Fault
from chaos.faults import FAULTS
from chaos.row import as_table

_SECONDS = 0.5
_SHORT = ("killed", "worker-killed", "rolling-restart", "raising-uvicorn")


@pytest.mark.parametrize("fault", [each for each in FAULTS if each.name in _SHORT], ids=lambda fault: fault.name)
def test_clients_see_no_more_of_it_than_is_promised(fault: Fault) -> None:
    row = fault.run(fault, fault.starts[0], _SECONDS)
    assert not row.has_failed(), as_table([row])
