"""The instances of a snapshot, found by what identifies them and by their addresses: there may be ten thousand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from portico.upstreams.instance import Instance

Identity: TypeAlias = tuple[str, str, str]
"""What identifies an instance: upstream key, URL, and its TLS settings."""


class Instances:
    """By upstream key, and there by URL and TLS settings; those of one address differ by TLS."""

    def __init__(self) -> None:
        self._of: dict[str, dict[tuple[str, str], Instance]] = {}
        self._tls: dict[str, set[str]] = {}
        """The TLS settings that the instances of each upstream have had, which are few."""

    def __iter__(self) -> Iterator[tuple[str, str, Instance]]:
        """Each with its upstream's key and its URL. None may come or go meanwhile."""
        for key, own in self._of.items():
            for (url, _), instance in own.items():
                yield key, url, instance

    def walk(self) -> Iterator[tuple[str, str, Instance]]:
        """The same for whoever goes through them in steps: they may come and go meanwhile."""
        for key in [*self._of]:
            for (url, _), instance in [*self._of.get(key, {}).items()]:
                yield key, url, instance

    def get(self, identity: Identity) -> Instance | None:
        """The instance of this identity."""
        key, *rest = identity
        own = self._of.get(key)
        return None if own is None else own.get((rest[0], rest[1]))

    def at(self, key: str, url: str) -> list[Instance]:
        """Those at an address."""
        own = self._of.get(key)
        if own is None:
            return []
        return [instance for tls in self._tls[key] if (instance := own.get((url, tls))) is not None]

    def put(self, identity: Identity, instance: Instance) -> None:
        """Add one, or replace the one of this identity."""
        key, url, tls = identity
        self._of.setdefault(key, {})[url, tls] = instance
        self._tls.setdefault(key, set()).add(tls)

    def pop(self, key: str, url: str, instance: Instance) -> None:
        """Remove one that is at this address."""
        own = self._of[key]
        for tls in self._tls[key]:
            if own.get((url, tls)) is instance:
                del own[url, tls]
                break
        if not own:
            del self._of[key], self._tls[key]
