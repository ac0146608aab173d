"""Who may send PURGE, and what they are answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest

from policies.exchanges import exchange
from portico.core.errors import Answer, Refusal
from portico.policies.cache import PurgeSettings
from portico.proxy.cache.purge_method import purge_policy
from portico.proxy.cache.purges import Outcome, Purge


class Purger:
    def __init__(self, outcome: Outcome | None = None) -> None:
        self.outcome = outcome
        self.purges: list[Purge] = []

    async def __call__(self, purges: Sequence[Purge]) -> Outcome | None:
        self.purges += purges
        return self.outcome


def answered(
    settings: PurgeSettings | None,
    purger: Purger,
    *lines: str,
    target: bytes = b"/x?y",
    method: str = "PURGE",
    **given: Any,
) -> Answer | None:
    """What the policy says of a request."""
    made = exchange(*lines, method=method, host=b"Shop.example:8080", **given)
    assert made.request is not None
    made.request.target = target
    made.method = method
    verdict: Any = purge_policy(settings, purger)(made)
    if verdict is None or isinstance(verdict, Answer):
        return verdict
    answer: Answer = asyncio.run(verdict)
    return answer


def test_other_methods_go_on() -> None:
    purger = Purger()
    for method in ("GET", "POST", "purge"):
        assert answered(None, purger, method=method, consumer="alice") is None
    assert purger.purges == []


LOCAL = {"networks": [ip_network("192.0.2.0/24")]}
OPS = {"consumers": ["ops"]}


@pytest.mark.parametrize(
    ("settings", "given", "allowed"),
    [
        (None, {}, False),
        (None, {"consumer": "alice"}, True),
        (None, {"claims_or_token": {"aud": "x"}}, True),
        (OPS, {}, False),
        (OPS, {"consumer": "alice"}, False),
        (OPS, {"consumer": "ops"}, True),
        (LOCAL, {"client_ip": "192.0.2.1"}, True),
        (LOCAL, {"client_ip": "198.51.100.1"}, False),
        (LOCAL, {"client_ip": "not an address"}, False),
        ({**OPS, **LOCAL}, {"client_ip": "192.0.2.1", "consumer": "ops"}, True),
        ({**OPS, **LOCAL}, {"client_ip": "192.0.2.1", "consumer": "alice"}, False),
        ({**OPS, **LOCAL}, {"client_ip": "198.51.100.1", "consumer": "ops"}, False),
    ],
)
def test_who_may(settings: Any, given: dict[str, Any], allowed: bool) -> None:
    purger = Purger(Outcome(3, 0))
    answer = answered(None if settings is None else PurgeSettings(**settings), purger, **given)

    assert answer is not None
    if not allowed:
        assert isinstance(answer, Refusal)
        assert (answer.status, answer.reason, purger.purges) == (403, "purge_refused", [])
    else:
        assert answer.status == 200
        assert [(purge.kind, purge.value, purge.soft) for purge in purger.purges] == [
            ("url", "//shop.example:8080/x?y", False)
        ], "in both schemes: who purges from inside often speaks plain HTTP"
        assert json.loads(answer.body) == {
            "purged": "//shop.example:8080/x?y",
            "soft": False,
            "entries": 3,
            "everywhere": True,
        }


@pytest.mark.parametrize(
    ("lines", "soft"),
    [
        ((), False),
        (("Cache-Purge: soft",), True),
        (("Cache-Purge: SOFT",), True),
        (("Cache-Purge: hard",), False),
        (("Fastly-Soft-Purge: 1",), True),
        (("Cache-Purge: hard", "Fastly-Soft-Purge: 1"), False),
    ],
)
def test_soft_or_hard(lines: tuple[str, ...], soft: bool) -> None:
    purger = Purger(Outcome(0, 0))
    answer = answered(None, purger, *lines, consumer="a")
    assert answer is not None
    assert (answer.status, purger.purges[0].soft) == (200, soft)


@pytest.mark.parametrize("outcome", [None, Outcome(1, 1)])
def test_where_others_are_not_known_to_have_done_it(outcome: Outcome | None) -> None:
    answer = answered(None, Purger(outcome), consumer="a")
    assert answer is not None
    assert (answer.status, json.loads(answer.body)["everywhere"]) == (202, False)


@pytest.mark.parametrize(("lines", "target"), [(("Cache-Purge: maybe",), b"/x"), ((), b"*")])
def test_what_cannot_be_meant(lines: tuple[str, ...], target: bytes) -> None:
    purger = Purger(Outcome(0, 0))
    answer = answered(None, purger, *lines, target=target, consumer="a")
    assert answer is not None
    assert (answer.status, purger.purges) == (400, [])


def test_settings_that_name_nobody_are_refused() -> None:
    with pytest.raises(ValueError, match="name consumers, networks or both"):
        PurgeSettings()
