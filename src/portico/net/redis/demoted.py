"""Connections that end once their server says that it does not serve: another may have taken over at its address.

redis-py keeps a connection after most replies of this kind, and would ask the same server for good.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import AbstractConnection as AsyncConnection

_CODES: Final = frozenset(
    {"READONLY", "MASTERDOWN", "NOREPLICAS", "LOADING", "MISCONF", "NOAUTH", "CLUSTERDOWN", "MOVED"}
)
"""The first word of a reply to a command that was not run, and that another server may well run."""


class WrongServerError(exceptions.ConnectionError):
    """The server did not run the command, and its connection is closed: repeating it on a new one is safe."""


@cache
def dropping(connection: type) -> Any:
    """This class of connections, closed by replies of a server that does not serve: they raise `WrongServerError`."""
    mixin = _Async if issubclass(connection, AsyncConnection) else _Sync
    return type(connection.__name__, (mixin, connection), {})


class _Async:
    async def read_response(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)  # type: ignore[misc]
        except exceptions.RedisError as error:
            if not _is_of_wrong_server(error):
                raise
            await self.disconnect(nowait=True)
            raise WrongServerError(str(error)) from error


class _Sync:
    def read_response(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]
        except exceptions.RedisError as error:
            if not _is_of_wrong_server(error):
                raise
            self.disconnect()
            raise WrongServerError(str(error)) from error


def _is_of_wrong_server(error: exceptions.RedisError) -> bool:
    return (error.status_code or str(error).partition(" ")[0]) in _CODES
