"""Requests that belong to an instance: they get the one that they name for as long as it can be used."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import Final, TypeAlias

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

    def over(self, choose: Choose, usable: Iterable[Instance]) -> Choose:
        """The same choice for all but those requests that name one of the `usable` instances."""
        self.use(usable)

        def choose_named(excluded: Sequence[Instance], exchange: Exchange) -> Instance | None:
            named = self.named(exchange)
            return choose(excluded, exchange) if named is None or named in excluded else named

        return choose_named

    def use(self, usable: Iterable[Instance]) -> None:
        """Note which instances requests may be sent to now."""
        raise NotImplementedError

    def named(self, exchange: Exchange) -> Instance | None:
        """The instance that a request names, if it may be used."""
        raise NotImplementedError

    def peek(self) -> Sticky:
        """The same, for whoever asks which instance that is: nothing is noted for it."""
        return copy(self)


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
        self._usable: dict[bytes, Instance] = {}

    def use(self, usable: Iterable[Instance]) -> None:
        self._usable = {self.id_of(instance.name): instance for instance in usable}

    def named(self, exchange: Exchange) -> Instance | None:
        return self._usable.get(self.key_of(exchange))

    def id_of(self, name: str) -> bytes:
        """The value of the cookie that leads to the instance of this name."""
        known = self._ids.get(name)
        if known is None:
            mac = hmac.digest(self._key, f"{self._scope}\n{name}".encode(), "sha256")
            known = self._ids[name] = urlsafe_b64encode(mac[:_ID_BYTES])
        return known
