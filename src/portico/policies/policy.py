"""The interface of a policy: what it may do with a request and, on the way back, with the response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from portico.core.consumers import Consumers
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.questions import Asker
from portico.observe.families import Counter
from portico.policies.asking import AskedSettings
from portico.policies.auth.fair_checks import FairChecks
from portico.policies.auth.key_sets import KeySets
from portico.policies.auth.key_table import KeyTable
from portico.policies.auth.revoked import RevokedTokens
from portico.policies.counters.shared_buckets import BucketTable
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.documents import Documents
from portico.policies.head import AnswerEdit, Head, ResponseEdit

K = TypeVar("K")


class Pending:
    """A verdict that is still to come, without a task that waits for it.

    The caller that gets one from a policy sets `settle`; the policy calls that with the verdict, never before it
    returned. Only the first one counts.
    """

    __slots__ = ("settle",)

    settle: Callable[[Answer | None], None]

    def cancel(self) -> None:
        """No caller waits for the verdict any more: it was given, or the client has left."""


class WholeBody(Pending):
    """A verdict for which all of a request's body is needed, which is still to come.

    Whoever waits calls `complete` or `too_large`; either settles it. What it makes of the body stands in the exchange
    then, as if it had come with the head; without that, the body goes on as it came.
    """

    __slots__ = ("max_size",)

    max_size: int
    """Bytes that are kept for it at most."""

    def complete(self, body: bytes) -> None:
        """All of the body is there."""
        raise NotImplementedError

    def too_large(self) -> None:
        """It has more than `max_size` bytes."""
        raise NotImplementedError


Verdict: TypeAlias = Answer | Pending | Awaitable[Answer | None] | None
Policy: TypeAlias = Callable[[Exchange], Verdict]
"""Looks at an exchange before it is forwarded. None lets it go on, an Answer ends it; a policy that has to wait
returns a `Pending` of either or, which costs a task, an awaitable. That is cancelled when its verdict is not needed any
more: what several exchanges wait for together belongs in `asyncio.shield`."""


ResponseHook: TypeAlias = Callable[[Exchange, ResponseEdit], Answer | None]
"""Sees a response before any of it is sent, and may edit its head; an Answer takes its place. It raises nothing."""


class BodyFilter(Protocol):
    """What a body passes through, piece by piece. Both may return nothing yet, and raise `HookFailedError`.

    That of a response may have `holds_head = True`: then nothing of the response is sent before it has let something
    through, or its end was reached. Until then it may edit the head that the hook was given, and an error takes the
    response's place. With `changed = False` when the head is sent, what that says of the body's bytes stays.
    """

    def feed(self, data: bytes) -> bytes:
        """What becomes of the next piece."""

    def end(self) -> bytes:
        """What follows the last one."""


BodyHook: TypeAlias = Callable[[Exchange, Head], BodyFilter | None]
"""The filter of a request's or a response's body, if there is to be one. Raises `HookFailedError`."""


class HookFailedError(Exception):
    """A hook failed, which is reported already; `answer` is what the client gets."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Hooks:
    """All that one policy does, where that is more than a verdict on requests; None where it does nothing."""

    request: Policy | None = None
    response: ResponseHook | None = None
    body: BodyHook | None = None
    attempt: Callable[[Exchange], bytes | None] | None = None
    """Gives the field line, if any, for one attempt at one instance, when it is sent."""
    sees: Callable[[Exchange], bool] = lambda exchange: True  # noqa: ARG005
    """Whether `response` is called for an answer of the gateway's own."""
    edits_requests: bool = False
    """Whether it edits the fields that services get, by `exchange.view`."""
    hold: Callable[[Exchange], None] | None = None
    """Called for an exchange that is going to wait for a policy: this one is needed until that is over."""


class ResponseHooks:
    """The hooks of a route's policies for responses, and for bodies either way: the last policy's first."""

    __slots__ = ("bodies", "responses")

    def __init__(self, hooks: Sequence[Hooks]) -> None:
        hooks = hooks[::-1]
        self.responses = tuple((each.response, each.sees) for each in hooks if each.response is not None)
        self.bodies = tuple(each.body for each in hooks if each.body is not None)

    def behind(self, hook: ResponseHook, sees: Callable[[Exchange], bool]) -> ResponseHooks:
        """The same, behind another hook for responses, which sees what the service sent."""
        both = ResponseHooks(())
        both.responses, both.bodies = ((hook, sees), *self.responses), self.bodies
        return both

    def run(self, exchange: Exchange, edit: ResponseEdit) -> ResponseEdit:
        """Run the response hooks; what they made of the response, or of the answer that one of them gave instead.

        `edit` itself is an answer of the gateway's own, or the service's response, which all hooks see.
        """
        for hook, sees in self.responses:
            if edit.answer is None or sees(exchange):
                answer = hook(exchange, edit)
                if answer is not None:
                    edit = AnswerEdit(exchange, answer)
        return edit


@dataclass(frozen=True, slots=True)
class Guards:
    """What decides who may use a route, as far as it can be asked again while an exchange is under way.

    `policies` stand in their order, each with its key, and by that `settings` have what they go by. `others` are
    settings of what cannot be asked again, such as users' policies: an exchange is begun anew where these differ.
    """

    policies: tuple[tuple[str, Policy], ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    others: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """A route's policies, compiled: what requests pass in order, and what their attempts and responses pass.

    `marks` are what a refusal still passes that comes before them all. `response_hooks` is None where no policy has
    any.
    """

    requests: tuple[Policy, ...] = ()
    marks: tuple[Policy, ...] = ()
    attempts: tuple[Callable[[Exchange], bytes | None], ...] = ()
    response_hooks: ResponseHooks | None = None
    edits_requests: bool = False
    holds: tuple[Callable[[Exchange], None], ...] = ()
    guards: Guards = Guards()

    @classmethod
    def of(
        cls,
        policies: Sequence[Policy | Hooks],
        marks: Sequence[Policy | Hooks] = (),
        guards: Guards = Guards(),
    ) -> Chain:
        """From policies in their order."""
        hooks = [_hooks(each) for each in policies]
        return cls(
            tuple(each.request for each in hooks if each.request is not None),
            tuple(each.request for each in map(_hooks, marks) if each.request is not None),
            tuple(each.attempt for each in hooks if each.attempt is not None),
            ResponseHooks(hooks) if any(each.response or each.body for each in hooks) else None,
            any(each.edits_requests or each.body for each in hooks),
            tuple(each.hold for each in hooks if each.hold is not None),
            guards,
        )


def _hooks(policy: Policy | Hooks) -> Hooks:
    return policy if isinstance(policy, Hooks) else Hooks(policy)


@dataclass(frozen=True, slots=True)
class Context:
    """What a policy is built with.

    `scope` names the level whose settings these are (`gateway`, `service:NAME`, `route:NAME`): state is shared within
    it. `state` outlives snapshots: `keep(key, make)` gives what was made for the same key before. `consumers` maps
    names to the numbers that replace a rate limit's own, `directory` has all else that is known of them. `shared` is
    set where limits are counted in Redis, `table` where workers have one for those that need none. `shadowed` counts
    what limits would have refused that are not enforced, `untransformed` bodies that rules are for and that they cannot
    change, `compressed` responses that are compressed, and bytes of these, `denied` requests that a rule refuses,
    `costs` what responses cost. `missing` is what is said to whoever has to prove who asks, where the route has ways
    for that. `added` are the names of fields that services get of other policies, in lower case; None where these may
    be any. `exempts` says that some requests pass limits.
    """

    scope: str
    state: State
    consumers: Mapping[str, Any] = field(default_factory=dict)
    shared: SharedLimits | None = None
    table: BucketTable | None = None
    shadowed: Counter | None = None
    untransformed: Counter | None = None
    compressed: tuple[Counter, Counter] | None = None
    denied: Counter | None = None
    costs: Counter | None = None
    directory: Consumers = Consumers()  # noqa: RUF009 - it is immutable
    missing: Refusal | None = None
    added: frozenset[bytes] | None = frozenset()
    exempts: bool = False


class State:
    """What policies remember across configuration changes, by key; `sweep` drops what no snapshot uses.

    `key_sets` are the keys that issuers of tokens publish, `api_keys` the API keys that hold, `revoked` the gateway's
    own tokens that hold no more, `documents` the OpenAPI documents of services that policies read; by `checks` tokens
    take turns to be verified. `make_asker` is needed where a policy asks a service.
    """

    def __init__(self, make_asker: Callable[[AskedSettings], Asker] | None = None) -> None:
        self.key_sets = KeySets()
        self.api_keys = KeyTable()
        self.revoked = RevokedTokens()
        self.checks = FairChecks()
        self.documents = Documents()
        self._make_asker = make_asker
        self._kept: dict[object, Any] = {}
        self._used: set[object] = set()

    def keep(self, key: object, make: Callable[[], Any]) -> Any:
        """What is kept under a hashable `key`, made now if there is none."""
        self._used.add(key)
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def all_of(self, kind: type[K]) -> list[K]:
        """Everything that is kept and of this kind."""
        return [each for each in self._kept.values() if isinstance(each, kind)]

    def kept(self, key: object) -> Any:
        """What is kept under a key, which is not used hereby; None where there is nothing."""
        return self._kept.get(key)

    def asker(self, settings: AskedSettings) -> Asker:
        """What asks the service at an address. Raises CertificateError or OSError for the file of its authorities."""
        assert self._make_asker is not None
        make = partial(self._make_asker, settings)
        authorities = settings.ca.read_bytes() if settings.ca is not None else b""
        asker: Asker = self.keep(("asker", settings.url, settings.timeout, authorities), make)
        return asker

    def sweep(self) -> None:
        """Drop what was not asked for since the last sweep."""
        self._kept = {key: value for key, value in self._kept.items() if key in self._used}
        self._used = set()
