"""Memory that a worker does not use any more."""

from __future__ import annotations

import json
import sys

from portico.core import memory


def test_names_that_python_caches_are_given_back() -> None:
    """Each keeps the megabyte around it: after 100,000 tokens they were 12 MiB that nothing used."""
    memory.trim()
    before = sys.getallocatedblocks()
    made = [(json.JSONDecoder(parse_constant=float), str(number)) for number in range(5000)]
    del made
    memory.trim()
    assert sys.getallocatedblocks() < before + 100
