"""What a shell offers for a word that is being typed: names from the configuration file.

A file that cannot be used offers nothing, and says nothing: somebody is typing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from portico.cli.configured import path_of

if TYPE_CHECKING:
    from portico.config import Config

Complete = Callable[[typer.Context, str], list[str]]
"""What offers names that begin as a word does, given the command so far."""


def _offering(names: Callable[[Config], Iterable[str]]) -> Complete:
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        config = _configuration(context)
        return sorted({name for name in names(config) if name.startswith(incomplete)}) if config else []

    return complete


def _configuration(context: typer.Context) -> Config | None:
    from portico.config import ConfigError, load_config

    named = context.params.get("config") or os.environ.get("PORTICO_CONFIG")
    path = path_of(Path(named) if named else None)
    try:
        return load_config(path, os.environ)
    except ConfigError:
        return None


service_names = _offering(lambda config: config.services)
consumer_names = _offering(lambda config: [consumer.name for consumer in config.consumers])
canary_names = _offering(
    lambda config: [route.name for route in config.all_routes if route.split is not None and route.split.canary]
)
"""Routes that have a canary."""
