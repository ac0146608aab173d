"""A snapshot for explanations without a running gateway: all instances are up, and nothing has been counted."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

from portico.config import Config
from portico.core.errors import Answer
from portico.observe.metrics import Metrics
from portico.proxy.gateway import Snapshot
from portico.snapshot.builder import SnapshotBuilder
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn

_NO_CONTROL: Final = Path("/nowhere")
_LOCAL: Final = {path: partial(Answer, 200) for path in ("/livez", "/readyz")}


def offline(config: Config) -> tuple[SnapshotBuilder, Snapshot]:
    """A builder and what it makes of a configuration, on the event loop that runs."""
    loop = asyncio.get_running_loop()
    turn = Turn(loop)
    builder = SnapshotBuilder(Deadlines(loop, turn), turn, _NO_CONTROL, _LOCAL, Metrics())
    return builder, builder.build(config, 1)
