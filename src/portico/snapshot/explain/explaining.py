"""All that is said of one request, in the order in which it passes."""

from __future__ import annotations

from collections.abc import Callable

from portico.config import Config
from portico.config.problems import KeyPath
from portico.proxy.gateway import Snapshot
from portico.snapshot.explain.explanation import Explanation
from portico.snapshot.explain.question import Question

Locate = Callable[[KeyPath], str]
"""File and line of a key; empty where that is not known."""


def explain(snapshot: Snapshot, config: Config, question: Question) -> Explanation:
    """What becomes of a request. `config` is what the snapshot was built from, in any process.

    Raises ValueError where it could not be sent: no method, a field that is none, a listener that is not there.
    """
    raise NotImplementedError


def located(explanation: Explanation, locate: Locate) -> Explanation:
    """The same with file and line of what it names, in the process that read the configuration."""
    raise NotImplementedError
