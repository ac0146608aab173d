"""Values that services issued, such as ids of sessions: requests that bring one go to the instance that issued it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, Self

from portico.core.caches import ages
from portico.core.exchange import Exchange
from portico.core.slices import Steps
from portico.upstreams.consistent_hash import KeyOf
from portico.upstreams.instance import Instance
from portico.upstreams.shared_bindings import SharedBindings
from portico.upstreams.sticky import Sticky

_MOST: Final = 50_000
"""Values that a worker remembers for each service, some 10 MB: it asks Redis again for those that it forgot."""
_UNUSED: Final = 0.2
"""The share of them that may be values that no request has brought yet."""
_DIGEST: Final = 16


class _Binding:
    """The instance that issued a value, by its name; moments are monotonic."""

    __slots__ = ("instance", "shared_at", "used_at")

    def __init__(self, instance: str, now: float) -> None:
        self.instance = instance
        self.used_at = now
        self.shared_at = now
        """When Redis was last told, or asked."""


class Bindings:
    """What a worker knows of one service's values, by their digests: the values are worth as much as passwords.

    One is forgotten `ttl` seconds after it was last used, or when there are too many: whoever begins sessions without
    end, and uses none of them, pushes out its own. They outlive snapshots.
    """

    def __init__(self, ttl: float, most: int = _MOST) -> None:
        self.ttl = ttl
        self._most = most
        self._issued: dict[bytes, _Binding] = {}
        """Those that no request has brought yet; the latest is at the end."""
        self._used: dict[bytes, _Binding] = {}
        """The others; the one that was used last is at the end."""
        ages(self)

    def __len__(self) -> int:
        return len(self._issued) + len(self._used)

    def get(self, digest: bytes, now: float) -> _Binding | None:
        """What is known of a value, which is used hereby."""
        binding = self._used.pop(digest, None) or self._issued.pop(digest, None)
        if binding is None or now - binding.used_at > self.ttl:
            return None
        binding.used_at = now
        self._used[digest] = binding
        return binding

    def put(self, digest: bytes, instance: str, now: float) -> None:
        """Remember that an instance issued a value."""
        kept = self._issued if self._used.pop(digest, None) is None else self._used
        kept.pop(digest, None)
        if len(self) >= self._most:
            full = self._issued if len(self._issued) > self._most * _UNUSED or not self._used else self._used
            del full[next(iter(full))]
        kept[digest] = _Binding(instance, now)

    def peek(self) -> Bindings:
        """The same, for whoever asks who issued a value, which is not used hereby."""
        return _Peeked(self)

    def known(self, digest: bytes) -> _Binding | None:
        """What is known of a value."""
        return self._used.get(digest) or self._issued.get(digest)

    def age(self, now: float) -> Steps[None]:
        """Forget those that were not used for `ttl` seconds."""
        for kept in (self._issued, self._used):
            for digest in [*kept]:
                binding = kept.get(digest)
                if binding is not None:
                    if now - binding.used_at <= self.ttl:
                        break
                    del kept[digest]
                yield


class _Peeked(Bindings):
    def __init__(self, of: Bindings) -> None:
        super().__init__(of.ttl)
        self._of = of

    def get(self, digest: bytes, now: float) -> _Binding | None:
        binding = self._of.known(digest)
        return None if binding is None or now - binding.used_at > self.ttl else binding


class IssuedSticky(Sticky):
    """By a value that the service itself issued; `scope` tells its values from other services'.

    Workers and gateways learn from each other by `shared`; without it each worker knows what passed through it.
    """

    def __init__(self, key_of: KeyOf, scope: str, bindings: Bindings, shared: SharedBindings | None) -> None:
        super().__init__(key_of)
        self._scope = scope.encode()
        self._bindings = bindings
        self.shared = shared

    def named(self, exchange: Exchange) -> Instance | None:
        value = self.key_of(exchange)
        if not value:
            return None
        binding = self._bindings.get(self._digest(value), exchange.started)
        return None if binding is None else self._named.get(binding.instance)

    def asks_about(self, exchange: Exchange) -> bytes | None:
        """What Redis has to be asked about before a request is forwarded: the digest of its value, if any.

        An instance that is gone is asked about too: another worker may know who took the session over.
        """
        shared, value = self.shared, self.key_of(exchange)
        if not value or shared is None or not shared.is_up:
            return None
        digest, now = self._digest(value), exchange.started
        binding = self._bindings.get(digest, now)
        if binding is None or binding.instance not in self._named:
            return digest
        self._keep_shared(shared, digest, binding, now)
        return None

    def found(self, digest: bytes, instance: str, now: float) -> None:
        """Redis knows who issued a value."""
        self._bindings.put(digest, instance, now)

    def issued(self, value: bytes, instance: str, now: float, *, is_error: bool) -> None:
        """An instance sent a value in a response. One that is known is not issued by an error that repeats it."""
        digest = self._digest(value)
        binding = self._bindings.get(digest, now)
        if binding is not None and (is_error or binding.instance == instance):
            return
        self._bindings.put(digest, instance, now)
        if self.shared is not None:
            self.shared.put(self.redis_key(digest), instance, self._bindings.ttl)

    def peek(self) -> Self:
        """It asks nobody else: what this worker does not know is not known."""
        peeked = super().peek()
        peeked._bindings, peeked.shared = self._bindings.peek(), None
        return peeked

    def redis_key(self, digest: bytes) -> bytes:
        """Where Redis keeps who issued a value."""
        return b"portico:sticky:%b:%b" % (self._scope, digest.hex().encode())

    @property
    def ttl(self) -> float:
        """Seconds for which a value is remembered that nobody uses."""
        return self._bindings.ttl

    def _keep_shared(self, shared: SharedBindings, digest: bytes, binding: _Binding, now: float) -> None:
        """Tell Redis now and then that a value is in use, or it would forget it."""
        if now - binding.shared_at > self.ttl / 4:
            binding.shared_at = now
            shared.put(self.redis_key(digest), binding.instance, self.ttl)

    def _digest(self, value: bytes) -> bytes:
        return blake2b(value, digest_size=_DIGEST).digest()
