"""What `portico` itself offers, beside its packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

import portico
from portico import Settings
from portico.plugin import Settings as SettingsOfPolicies
from support.portico import environment


def test_settings_are_those_that_policies_have() -> None:
    class Own(Settings):
        oldest: int = 1

    assert issubclass(Own, SettingsOfPolicies)
    assert Own(oldest=2).oldest == 2
    with pytest.raises(AttributeError, match="no attribute 'Setings'"):
        portico.Setings  # noqa: B018


def test_importing_it_loads_nothing_else() -> None:
    code = "import sys; before = {*sys.modules}; import portico; print({*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "{'portico'}\n"
