"""Which networks requests may come from."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from policies.exchanges import exchange
from portico.core.errors import Refusal
from portico.policies.ip_filter import IpFilterSettings, build_ip_filter
from portico.policies.policy import Context, State


@pytest.mark.parametrize(
    ("allow", "deny", "client", "accepted"),
    [
        (["10.0.0.0/8"], [], "10.1.2.3", True),
        (["10.0.0.0/8"], [], "11.1.2.3", False),
        (["10.0.0.0/8"], [], "::ffff:10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], [], "10.1.2.3", True),
        (["10.0.0.0/8"], ["10.9.0.0/16"], "10.9.1.1", False),
        (["10.0.0.0/8"], ["10.9.0.0/16"], "10.8.1.1", True),
        ([], ["10.9.0.0/16"], "192.0.2.1", True),
        ([], ["192.0.2.1"], "192.0.2.1", False),
        (["fd00::/8"], [], "fd12::1", True),
        (["fd00::/8"], [], "fd12::1%eth0", True),
        (["fd00::/8"], [], "10.0.0.1", False),
        (["0.0.0.0/0"], [], "::1", False),
        (["0.0.0.0/0", "::/0"], [], "unix:", False),
        (["10.0.0.0/8"], [], "", False),
        ([], ["10.0.0.0/8"], "", True),
    ],
)
def test_addresses(allow: list[str], deny: list[str], client: str, accepted: bool) -> None:
    settings = IpFilterSettings(allow=tuple(allow), deny=tuple(deny))
    answer = build_ip_filter(settings, Context("gateway", State()))(exchange(client_ip=client))
    assert (answer is None) == accepted
    if not accepted:
        assert isinstance(answer, Refusal)
        assert (answer.status, answer.reason) == (403, "address_refused")


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"allow": []},
        {"allow": ["10.0.0.1/8"]},
        {"allow": ["example.com"]},
        {"allow": ["10.1.0.0/16"], "deny": ["10.0.0.0/8"]},
        {"allow": ["10.1.0.0/16"], "deny": ["10.1.0.0/16"]},
    ],
)
def test_what_cannot_be_meant_is_an_error(written: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        IpFilterSettings(**written)
