"""What the supervisor has loaded when it forks: all that workers need, and nothing of the control process."""

from __future__ import annotations

import subprocess
import sys


def test_workers_find_their_code_loaded_and_nothing_of_fastapi() -> None:
    program = "import portico.processes.supervisor.main, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert {"portico.processes.worker.main", "portico.proxy.gateway", "uvloop"} <= loaded
    assert not loaded & {"fastapi", "uvicorn", "httpx", "prometheus_client", "portico.processes.control.process"}
