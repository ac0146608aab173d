"""Requests that belong to an instance: they get the one that they name for as long as it can be used."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence, Set
from copy import copy
from typing import Final, Self, TypeAlias

from portico.core.exchange import Exchange
from portico.upstreams.consistent_hash import KeyOf, by_cookie
from portico.upstreams.instance import Instance

Choose: TypeAlias = Callable[[Sequence[Instance], Exchange], Instance | None]

_ID_BYTES: Final = 12
"""Bytes of an id, 16 characters of a cookie: nobody finds one by trying."""


class Sticky:
    """Finds the instance that a request names; `key_of` gives what it brings, which is empty where it names none."""

    def __init__(self, key_of: KeyOf) -> None:
        self.key_of = key_of
        self._usable: Set[Instance] = frozenset()
        self._named: dict[str | bytes, Instance] = {}
        """Those by what requests name them by."""

    def over(self, choose: Choose, usable: Set[Instance]) -> Choose:
        """The same choice for all but those requests that name one of the `usable` instances."""
        self._use(usable)

        def choose_named(excluded: Sequence[Instance], exchange: Exchange) -> Instance | None:
            named = self.named(exchange)
            return choose(excluded, exchange) if named is None or named in excluded else named

        return choose_named

    def named(self, exchange: Exchange) -> Instance | None:
        """The instance that a request names, if it may be used."""
        raise NotImplementedError

    def name_of(self, instance: Instance) -> str | bytes:
        """What requests name an instance by."""
        return instance.name

    def peek(self) -> Self:
        """The same, for whoever asks which instance that is: nothing is noted for it."""
        peeked = copy(self)
        peeked._usable, peeked._named = frozenset(), {}
        return peeked

    def _use(self, usable: Set[Instance]) -> None:
        """Note which instances requests may be sent to now."""
        before, self._usable, named = self._usable, usable, self._named
        for instance in before - usable:
            named.pop(self.name_of(instance), None)
        for instance in usable - before:
            named[self.name_of(instance)] = instance
        if len(named) != len(usable):  # there are, or were, two of one name
            self._named = {self.name_of(instance): instance for instance in usable}


class CookieSticky(Sticky):
    """By the gateway's own `cookie`: the MAC of an instance, so none can be made up, and none shows an address.

    `key` is the same wherever the cookie is to be known, `scope` tells the instances of a service from others'.
    """

    def __init__(self, cookie: str, key: bytes, scope: str) -> None:
        super().__init__(by_cookie(cookie))
        self.cookie = cookie
        self._key = key
        self._scope = scope
        self._ids: dict[str, bytes] = {}

    def named(self, exchange: Exchange) -> Instance | None:
        return self._named.get(self.key_of(exchange))

    def name_of(self, instance: Instance) -> bytes:
        return self.id_of(instance.name)

    def id_of(self, name: str) -> bytes:
        """The value of the cookie that leads to the instance of this name."""
        known = self._ids.get(name)
        if known is None:
            mac = hmac.digest(self._key, f"{self._scope}\n{name}".encode(), "sha256")
            known = self._ids[name] = urlsafe_b64encode(mac[:_ID_BYTES])
        return known
