"""The configuration that may come into use next: read, with its users' policies open, before control has it used."""

from __future__ import annotations

from typing import NamedTuple

from portico.config import Config, forgetting_written, loading
from portico.core.slices import in_slices, without_collections
from portico.policies.plugins.lifecycle import Plugins, PluginSet
from portico.policies.plugins.loading import PluginError


class _Prepared(NamedTuple):
    dumped: bytes
    config: Config
    plugins: PluginSet


class Preparation:
    """What one worker has prepared."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self._prepared: _Prepared | None = None

    async def prepare(self, dumped: bytes) -> str:
        """Load a configuration and open its users' policies; what is wrong with those, if anything."""
        self.abandon()
        with without_collections():
            config = await in_slices(loading(dumped, serves=True))
        await in_slices(forgetting_written(config))
        try:
            plugins = await self._plugins.open(config.plugins, config.directory, config.code)
        except PluginError as error:
            return str(error)
        self._prepared = _Prepared(dumped, config, plugins)
        return ""

    def abandon(self) -> None:
        """What was prepared will not be used."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self._plugins.abandon(prepared.plugins)

    async def take(self, dumped: bytes) -> tuple[Config, PluginSet]:
        """A configuration, prepared before or now, for its caller to use or abandon. Raises PluginError."""
        if self._prepared is None or self._prepared.dumped != dumped:
            problem = await self.prepare(dumped)
            if problem:
                raise PluginError(problem)
        prepared, self._prepared = self._prepared, None
        assert prepared is not None
        return prepared.config, prepared.plugins
