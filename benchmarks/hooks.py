"""Users' policies that do as good as nothing, for `python -m benchmarks.inside --hooks`: what hooks themselves cost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from portico.plugin import Exchange, Head, Policy, ResponseHead
from portico.policies import Chain, build_chain
from portico.policies.plugins.hooks import PluginHooks
from portico.snapshot import builder


class _Request(Policy):
    def request(self, exchange: Exchange) -> None:
        """Do nothing."""


class _Response(Policy):
    def response(self, exchange: Exchange, head: ResponseHead) -> None:
        """Do nothing."""


class _Both(_Request, _Response):
    """A policy with both."""


class _Tenant(Policy):
    def request(self, exchange: Exchange) -> None:
        """Set a field for the service."""
        exchange.upstream_headers.set("X-Tenant", "a")


class _Mark(Policy):
    def response(self, exchange: Exchange, head: ResponseHead) -> None:
        """Set a field for the client."""
        head.headers.set("X-Served-By", "a")


class Identity:
    """A filter that passes everything on."""

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class _Body(Policy):
    def body(self, exchange: Exchange, head: Head) -> Identity:
        return Identity()


KINDS: dict[str, type[Policy]] = {
    "request": _Request,
    "response": _Response,
    "both": _Both,
    "tenant": _Tenant,
    "mark": _Mark,
    "body": _Body,
}


def hooked(names: Sequence[str]) -> AbstractContextManager[object]:
    """A context in which snapshots have these policies behind the configured ones of every route."""

    def build(*arguments: Any, **more: Any) -> Chain:
        own = [PluginHooks(KINDS[name](), name, 1.0, False, _report).as_hooks() for name in names]
        return Chain.of([*build_chain(*arguments, **more).requests, *own])

    return mock.patch.object(builder, "build_chain", build)


def _report(hook: str, error: BaseException | None, seconds: float) -> None:
    if not isinstance(error, BlockingIOError):  # that was the machine, which ran something else
        raise RuntimeError(f"{hook} failed after {seconds} s") from error
