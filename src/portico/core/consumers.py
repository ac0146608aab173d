"""The consumers of a configuration: who may come in, by name, and what proves that it is they."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


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


class Consumers:
    """All consumers of one configuration. Two with the same ones are equal: what was proved by one holds by the other.

    Names are compared in Unicode NFC, in which a configuration has them.
    """

    __slots__ = ("_by_certificate", "_by_key", "_by_name", "_hash")

    def __init__(self, consumers: Iterable[Consumer] = ()) -> None:
        self._by_name = {each.name: each for each in consumers}
        self._by_key = {key: each for each in self._by_name.values() for key in each.keys}
        self._by_certificate = {name: each for each in self._by_name.values() for name in each.certificates}
        self._hash = hash(tuple(self._by_name.values()))

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
        return self is other or (isinstance(other, Consumers) and self._by_name == other._by_name)

    def __hash__(self) -> int:
        return self._hash
