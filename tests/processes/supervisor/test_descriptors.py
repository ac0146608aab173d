from __future__ import annotations

import resource
import subprocess
import sys

import pytest

_SCRIPT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from portico.processes.supervisor.descriptors import allow_descriptors
allow_descriptors(500)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "got", "warned"),
    [(300, 4000, 1756, False), (3000, 4000, 3000, False), (300, 800, 800, False), (300, 600, 600, True)],
)
def test_the_limit_is_raised_as_far_as_it_may(soft: int, hard: int, got: int, warned: bool) -> None:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if allowed not in (-1, resource.RLIM_INFINITY) and allowed < hard:
        pytest.skip("this system allows too few open files")
    command = [sys.executable, "-c", _SCRIPT, str(soft), str(hard)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert int(done.stdout) == got
    assert ("raise ulimit -n" in done.stderr) == warned
