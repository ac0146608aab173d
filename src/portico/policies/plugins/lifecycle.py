"""The life of users' policies in a worker: opened before a snapshot comes into use, closed after its last exchange."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from portico.core.faults import FAULTS, described
from portico.core.tasks import background
from portico.observe.families import Definitions
from portico.observe.metrics import Metrics
from portico.policies.plugins.base import Policy
from portico.policies.plugins.context import HttpClient, PluginContext
from portico.policies.plugins.hooks import BLOCKING, PluginHooks
from portico.policies.plugins.imports import Code, replacements
from portico.policies.plugins.loading import Loaded, PluginError, loader
from portico.policies.plugins.reports import Reports
from portico.policies.plugins.settings import PluginSettings
from portico.policies.plugins.steps import TimedSteps
from portico.policies.policy import State

logger: Final = logging.getLogger("portico.policies")

OPEN_TIMEOUT: Final = 10.0
"""Seconds that `open` has."""
CLOSE_TIMEOUT: Final = 10.0
"""Seconds that `close` has."""


class Placed(NamedTuple):
    """One policy of a list, with what is written about it."""

    settings: PluginSettings
    hooks: PluginHooks

    @classmethod
    def of(cls, policy: Policy, written: PluginSettings, reports: Reports) -> Placed:
        """A policy that has its context."""
        name, skips_failures = policy.context.name, written.on_error == "skip"
        return cls(written, PluginHooks(policy, name, written.timeout, skips_failures, reports.of(name)))


class PluginSet:
    """The users' policies of one snapshot: those of each level that has a list, by its scope."""

    def __init__(self, metrics: Definitions | None = None) -> None:
        self.metrics = metrics
        self.by_scope: dict[str, list[Placed]] = {}
        self.is_closed: set[PluginHooks] = set()
        """Those that are closed, or are being closed."""

    @property
    def all(self) -> list[PluginHooks]:
        """All of them."""
        return [each.hooks for level in self.by_scope.values() for each in level]

    def retire(self, idle: Callable[[PluginHooks], None]) -> None:
        """No further exchange will come: `idle` is called with each of them after its last exchange."""
        for hooks in self.all:
            hooks.retire(partial(idle, hooks))


class Plugins:
    """The users' policies of one worker, from one snapshot to the next."""

    def __init__(self, metrics: Metrics) -> None:
        self._families = metrics.families
        self._reports = Reports(metrics.policy_errors)
        self._state = State()
        self._client = HttpClient()
        self._open: list[PluginSet] = []
        """Those of the current snapshot, of the next one, and of earlier ones that are not closed yet."""
        self._closing: set[asyncio.Task[None]] = set()
        self._replacements = 0

    async def open(
        self, levels: Mapping[str, Sequence[PluginSettings]], directory: Path, code: Code = MappingProxyType({})
    ) -> PluginSet:
        """The policies of a configuration, by scope, loaded and opened; one that is not used has to be abandoned.

        `code` is the text of their files.

        Raises PluginError where one of them cannot be used; the others are closed then.
        """
        coming = PluginSet(Definitions(self._families))
        if not any(levels.values()):
            return coming
        uses = [each.use for level in levels.values() for each in level]
        loaded = await asyncio.to_thread(loader.load, uses, directory, code)  # requests go on meanwhile
        for scope, level in levels.items():
            coming.by_scope[scope] = self._level(scope, level, loaded, coming)
        places = [(scope, each) for scope, level in coming.by_scope.items() for each in level]
        results = await asyncio.gather(*(_open(scope, each) for scope, each in places), return_exceptions=True)
        problems = [
            f"{each.settings.use} ({scope}): open() raised {described(problem)}"
            if isinstance(problem, BaseException)
            else problem
            for (scope, each), problem in zip(places, results, strict=True)
        ]
        self._open.append(coming)
        if any(problems):
            coming.is_closed.update(each.hooks for (_, each), problem in zip(places, problems, strict=True) if problem)
            self.abandon(coming)
            raise PluginError("\n".join(dict.fromkeys(filter(None, problems))))
        return coming

    def _level(
        self,
        scope: str,
        level: Sequence[PluginSettings],
        loaded: Mapping[str, Loaded | PluginError],
        coming: PluginSet,
    ) -> list[Placed]:
        placed: list[Placed] = []
        for index, written in enumerate(level):
            found = loaded[written.use]
            if isinstance(found, PluginError):
                raise PluginError(f"{written.use} ({scope}): {found}")
            number = sum(each.use == written.use for each in level[:index])
            state: dict[str, Any] = self._state.keep((scope, written.use, number), dict)
            context = PluginContext(found.name, state, coming.metrics, self._client)
            placed.append(Placed.of(_made(found.kind, written, context, scope), written, self._reports))
        return placed

    def adopt(self, coming: PluginSet, replaced: PluginSet) -> None:
        """A snapshot with the `coming` ones is in use, in place of one with the `replaced` ones."""
        if coming is replaced:
            return
        if replaced.metrics is not None:
            replaced.metrics.is_in_use = False
        if coming.metrics is not None:
            coming.metrics.take_effect()
        self._state.sweep()
        replaced.retire(partial(self._close, replaced))

    def abandon(self, coming: PluginSet) -> None:
        """These will not come into use."""
        for hooks in coming.all:
            self._close(coming, hooks)

    def _close(self, own: PluginSet, hooks: PluginHooks) -> None:
        if hooks not in own.is_closed:
            own.is_closed.add(hooks)
            task = background(_close(hooks), f"close() of {hooks.name}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        if own in self._open and own.is_closed.issuperset(own.all):
            self._open.remove(own)

    def has_left_code(self) -> bool:
        """Whether nothing uses code any more that was replaced since this was last so."""
        known, self._replacements = self._replacements, replacements() if len(self._open) < 2 else self._replacements
        return self._replacements != known

    async def close(self, timeout: float) -> None:
        """Close all that are open, whatever runs, within `timeout` seconds, and the HTTP client after them."""
        for own in [*self._open]:
            self.abandon(own)
        if self._closing:
            await asyncio.wait(self._closing, timeout=timeout)
        try:
            await self._client.close()
        except FAULTS:
            logger.exception("the HTTP client of policies could not be closed")


def _made(kind: type[Policy], written: PluginSettings, context: PluginContext, scope: str) -> Policy:
    """An instance. Raises PluginError."""
    try:
        settings = kind.Settings.model_validate(written.written)
        policy = kind()
        policy.settings, policy.context = settings, context
    except ValidationError as error:
        raise PluginError(f"{written.use} ({scope}): what is written under with is wrong: {_summary(error)}") from error
    except BaseException as error:
        logger.exception("a policy could not be made", extra={"policy": context.name})
        raise PluginError(f"{written.use} ({scope}): {described(error)}") from error
    return policy


async def _open(scope: str, placed: Placed) -> str | None:
    """Why a policy could not be opened; None where it could."""
    written, hooks = placed
    problem = await _bounded(hooks, "open", hooks.policy.open, OPEN_TIMEOUT)
    return f"{written.use} ({scope}): {problem}" if problem else None


async def _close(hooks: PluginHooks) -> None:
    await _bounded(hooks, "close", hooks.policy.close, CLOSE_TIMEOUT)


async def _bounded(hooks: PluginHooks, name: str, call: Callable[[], Awaitable[None]], timeout: float) -> str | None:
    """What went wrong, which is an event too."""
    extra = {"policy": hooks.name}
    bound = asyncio.timeout(timeout)
    try:
        async with bound:
            await TimedSteps(_called(call), BLOCKING, partial(hooks.blocked, name))
    except BaseException as error:
        if bound.expired():
            logger.error("a policy's %s() came to no end within %g s", name, timeout, extra=extra)
            return f"{name}() came to no end within {timeout:g} s"
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        logger.exception("a policy's %s() failed", name, extra=extra)
        return f"{name}() raised {described(error)}"
    return None


async def _called(call: Callable[[], Awaitable[None]]) -> None:
    """It may be a plain function, too."""
    result = call()
    if inspect.isawaitable(result):
        await result


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _summary(error: ValidationError) -> str:
    """Without the values, which may be secret."""
    entries = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in entries)
