"""The consumers of a configuration: who may come in, by name, and what proves that it is they."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeAlias

from portico.core.slices import Steps, at_once

Numbers: TypeAlias = Mapping[str, Any]
"""What replaces the numbers of rate limits for one consumer, by their keys; `limits` has more, by a limit's name."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """One consumer: its `scopes`, and what it may prove itself by.

    `keys` are SHA-256 digests of API keys, `password` is a hash in PHC form or empty, `certificates` are names as
    `net/tls/client_names.py` has them.
    """

    name: str
    scopes: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    password: str = field(default="", repr=False)
    certificates: tuple[str, ...] = ()


class OwnNumbers(dict[str, Numbers]):
    """The numbers of all consumers that have their own, by name; those with the same ones share an object."""

    def __init__(self, written: Mapping[str, Numbers] | None = None) -> None:
        super().__init__()
        self._alike: dict[str, Numbers] = {}
        self._examples: dict[frozenset[object], Numbers] = {}
        for name, numbers in (written or {}).items():
            self.add(name, numbers)

    def add(self, name: str, numbers: Numbers) -> None:
        """Those of one more consumer."""
        shared = self._alike.setdefault(repr(numbers), numbers)
        if shared is numbers:
            self._examples.setdefault(_keys(numbers), numbers)
        self[name] = shared

    def end(self) -> None:
        """No more will come: what finds those with the same numbers is let go."""
        self._alike = {}

    @property
    def examples(self) -> Iterable[Numbers]:
        """One of each kind: those of the others have the same keys."""
        return self._examples.values()


def _keys(numbers: Numbers) -> frozenset[object]:
    return frozenset((key, _keys(value) if isinstance(value, Mapping) else None) for key, value in numbers.items())


class Consumers:
    """All consumers of one configuration. Two with the same ones are equal: what was proved by one holds by the other.

    Names are compared in Unicode NFC, in which a configuration has them. `digest` is of all that they may prove
    themselves by, and of what they may do; `numbers` are those of rate limits, which have no part in it.
    """

    __slots__ = ("_by_certificate", "_by_key", "_by_name", "digest", "numbers", "passwords")

    def __init__(self, consumers: Iterable[Consumer] = ()) -> None:
        self._by_name: dict[str, Consumer] = {}
        self._by_key: dict[bytes, Consumer] = {}
        self._by_certificate: dict[str, Consumer] = {}
        self.passwords: list[str] = []
        """The hashes of those that have one."""
        self.numbers = OwnNumbers()
        self.digest = b""
        at_once(self._adding((each, None) for each in consumers))

    @classmethod
    def gathering(cls, written: Iterable[tuple[Consumer, Numbers | None]]) -> Steps[Consumers]:
        """All of them, with the numbers of those that have their own, in steps."""
        consumers = cls()
        yield from consumers._adding(written)
        return consumers

    def _adding(self, written: Iterable[tuple[Consumer, Numbers | None]]) -> Steps[None]:
        digest = blake2b(digest_size=16)
        for each, numbers in written:
            digest.update(repr((each.name, each.scopes, each.keys, each.password, each.certificates)).encode())
            self._by_name[each.name] = each
            self._by_key.update(dict.fromkeys(each.keys, each))
            self._by_certificate.update(dict.fromkeys(each.certificates, each))
            if each.password:
                self.passwords.append(each.password)
            if numbers is not None:
                self.numbers.add(each.name, numbers)
            yield
        self.digest = digest.digest()
        self.numbers.end()

    def find(self, name: str) -> Consumer | None:
        """The consumer of a name."""
        return self._by_name.get(name)

    def with_key(self, digest: bytes) -> Consumer | None:
        """The consumer whose file names the API key with this SHA-256 digest."""
        return self._by_key.get(digest)

    def with_certificate(self, names: Iterable[str]) -> list[Consumer]:
        """The consumers, each once, who have one of these names of a certificate."""
        found = {each.name: each for name in names if (each := self._by_certificate.get(name)) is not None}
        return list(found.values())

    def __iter__(self) -> Iterator[Consumer]:
        return iter(self._by_name.values())

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Consumers) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)
