"""Where stored responses are in Redis: names of keys, in shards that may be at different nodes of a Cluster."""

from __future__ import annotations

from binascii import crc_hqx
from hashlib import blake2b
from typing import Final, Self

from portico.net.redis.link import argument
from portico.proxy.cache.stored import Stored

SHARDS: Final = 16
"""Parts of what is stored, each bounded by itself: what evicts can only see keys of one slot."""
_SLOTS: Final = 16384


def _prefixes() -> list[bytes]:
    """How the names of each shard's keys begin; the slots of their tags are spread evenly, as those of nodes are."""
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < SHARDS:
        tag = b"%d" % number
        found.setdefault(crc_hqx(tag, 0) % _SLOTS * SHARDS // _SLOTS, tag)
        number += 1
    return [b"portico:cache:{%b}:" % found[index] for index in range(SHARDS)]


PREFIXES: Final = _prefixes()
_STATES: Final = [[argument(prefix + name) for name in (b"sizes", b"new", b"old", b"due")] for prefix in PREFIXES]


class Place:
    """Where the variants of a key are, by a digest of it."""

    __slots__ = ("digest", "hash")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.hash = argument(PREFIXES[digest[0] % SHARDS] + digest)
        """The key that `look.lua` needs, as a bulk string."""

    @property
    def keys(self) -> list[bytes]:
        """Those that `store.lua` needs."""
        return [self.hash, *_STATES[self.digest[0] % SHARDS]]

    @classmethod
    def of(cls, key: bytes) -> Self:
        """That of a primary key."""
        return cls(blake2b(key, digest_size=16).digest())

    @classmethod
    def all(cls) -> list[Self]:
        """One in each shard."""
        return [cls(bytes((index, *bytes(15)))) for index in range(SHARDS)]


def variant_name(stored: Stored) -> bytes:
    """The name of a variant: those that answer the same requests have the same, and replace each other."""
    asker = None if stored.is_shared else stored.asker
    selects = (asker, stored.vary, stored.codings is None, sorted(stored.coding), stored.language)
    return blake2b(repr(selects).encode(), digest_size=8).digest()
