"""What a policy of one's own has beside its settings: state, a log, metrics and an HTTP client."""

from __future__ import annotations

import logging
from typing import Any


class PluginContext:
    """One policy's surroundings in one worker.

    `name` is how it is called in events and metrics. `state` is a dict that survives reloads: it belongs to the policy
    as it is used at one level of the configuration.
    """

    def __init__(self, name: str, state: dict[str, Any]) -> None:
        self.name = name
        self.state = state
        self.log = logging.getLogger(f"portico.plugin.{name}")
