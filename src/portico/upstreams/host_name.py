"""The addresses behind a host name, looked up again as they age."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

from portico.net.addresses import Network, screened

logger: Final = logging.getLogger("portico.dns")

LookUp: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""Finds the addresses of a name; raises OSError or UnicodeError if there are none."""


async def look_up(host: str) -> Sequence[str]:
    """The addresses that the system's resolver knows, in a thread: it may take long."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


_AT_ONCE: Final = 2
_few: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]] = WeakKeyDictionary()


async def look_up_few(host: str, find: LookUp | None = None) -> Sequence[str]:
    """The addresses of a registered name; `_AT_ONCE` are looked up at once, and all others wait.

    The system has a handful of threads for it. Names whose servers do not answer, which is up to the client that
    registers them, must leave some to the names in the file. A look-up no longer awaited still has its thread.
    """
    few = _few.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE))
    await few.acquire()
    looking = asyncio.ensure_future((find or look_up)(host))
    looking.add_done_callback(lambda _: few.release())
    return await asyncio.shield(looking)


class HostName:
    """A name and its addresses, used round robin.

    They are valid for `refresh` seconds: the system's resolver reports no time to live. Then they are looked up while
    the old ones stay in use, as they also do if that fails.
    """

    def __init__(self, host: str, find: LookUp | None = None) -> None:
        self.host = host
        self.refresh = 10.0
        self.addresses: Sequence[str] = ()
        self._named: Sequence[Network] | None = None
        self._kept_out: Sequence[str] = ()
        self._find = find or look_up
        self._known_at = 0.0
        self._failing = False
        self._problem = ""
        """What the last look-up that failed was told."""
        self._looking: asyncio.Task[None] | None = None
        self._refusing: set[str] = set()
        self._request_turn = self._connection_turn = 0

    def screen(self, named: Sequence[Network] | None) -> None:
        """Reject addresses at which there is no service, except those in `named` networks; None: accept any.

        That is for registered names: a client that may only register could point them anywhere.
        """
        if named == self._named:
            return
        self._named = named
        self._known_at = 0.0
        if named is not None:
            self.addresses = screened(self.addresses, named)

    def keep_fresh(self) -> None:
        """Look up again, in the background, addresses that have aged."""
        if self._looking is None and time.monotonic() - self._known_at >= self.refresh:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def known(self) -> Sequence[str]:
        """The addresses in the order in which they should be tried: round robin, those that refused lately last.

        Only the first look-up is waited for. Raises OSError where the name has no address.
        """
        self.keep_fresh()
        if not self.addresses and self._looking is not None:
            await asyncio.shield(self._looking)
        if not self.addresses:
            raise OSError(f"{self.host} has no address{self._problem}")
        at = self._connection_turn % len(self.addresses)
        self._connection_turn += 1
        in_turn = (*self.addresses[at:], *self.addresses[:at])
        return sorted(in_turn, key=self._refusing.__contains__)

    def next(self) -> str | None:
        """The address for the next request, if possible one that did not refuse lately; None if there is none."""
        addresses = self.addresses
        if not addresses:
            return None
        for _ in addresses:
            self._request_turn += 1
            address = addresses[self._request_turn % len(addresses)]
            if address not in self._refusing:
                return address
        self._request_turn += 1
        return addresses[self._request_turn % len(addresses)]

    def answered(self, address: str) -> None:
        """A connection was accepted there."""
        self._refusing.discard(address)

    def refused(self, address: str) -> None:
        """A connection was refused there: while others accept, it is not used until the next look-up."""
        self._refusing.add(address)

    async def _look(self) -> None:
        try:
            find = self._find if self._named is None else partial(look_up_few, find=self._find)
            self._learn(self._screened(list(dict.fromkeys(await find(self.host)))))
        except (OSError, UnicodeError) as error:
            if not self._failing:
                extra = {"host": self.host, "error": str(error), "addresses": ", ".join(self.addresses) or "none"}
                logger.warning("a name cannot be looked up; the addresses that were known go on", extra=extra)
            self._failing = True
            self._problem = f": {getattr(error, 'strerror', None) or error}".lower()
        except Exception:
            logger.exception("a name could not be looked up", extra={"host": self.host})
        finally:
            self._looking = None
            if self.addresses:  # with no address yet, the next caller tries again
                self._known_at = time.monotonic()

    def _screened(self, found: Sequence[str]) -> Sequence[str]:
        if self._named is None:
            return found
        taken = screened(found, self._named)
        kept_out = [address for address in found if address not in taken]
        if kept_out and set(kept_out) != set(self._kept_out):
            extra = {"host": self.host, "addresses": ", ".join(kept_out)}
            logger.warning("a registered name stands for addresses that no service has; they are not used", extra=extra)
        self._kept_out = kept_out
        if kept_out and not taken:
            raise OSError("no service has an address of this name")
        return taken

    def _learn(self, found: Sequence[str]) -> None:
        if not found:
            raise OSError("the name has no address")
        if self._failing:
            logger.info("a name can be looked up again", extra={"host": self.host, "addresses": ", ".join(found)})
        self._failing = False
        self._refusing.clear()
        if set(found) != set(self.addresses):
            self.addresses = found
