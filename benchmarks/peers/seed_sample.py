"""The gateway that Portico's plan began with: FastAPI, and an httpx client for every request."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peer import POLICIES, Duty, Peer
from benchmarks.request import SECRET
from support.site import Site

_APP = Path(__file__).with_name("seed_sample_app.py")


def _configure(site: Site) -> list[str]:
    log = str(site.directory / "access.log")
    return [sys.executable, str(_APP), str(site.port), f"http://127.0.0.1:{site.backend}", SECRET, log]


def _version() -> str | None:
    try:
        return f"(FastAPI {version('fastapi')}, httpx {version('httpx')})"
    except PackageNotFoundError:
        return None


PEERS = (
    Peer(
        "seed sample",
        POLICIES,
        _version,
        "pip install fastapi httpx uvicorn",
        _configure,
        duties=frozenset({Duty.VERIFY}),
        access_log="access.log",
        slow=True,
    ),
)
