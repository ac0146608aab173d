"""Values of fields with names in them: what they become, and what can never get into one."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.policies.templates import Template

from .exchanges import exchange

MATCH = SimpleNamespace(route=SimpleNamespace(name="orders"), handling=SimpleNamespace(service_name="shop"))
CLAIMS = {
    "tenant": "acme",
    "https://app.example/role": "boss",
    "a": {"b": {"c/d": 7}, "list": ["x", "y,z", 3, True]},
    "empty": "",
    "no": None,
    "off": False,
    "zero": 0,
    "share": 0.5,
    "name": "Łukasz 100%",
    "ends": "a\r\nX-Admin: yes\x00",
    "half": "\ud800",
    "nested": [["a"]],
    "long": "a" * 9000,
}


def rendered(written: str, **given: Any) -> str:
    given = {"claims_or_token": CLAIMS, "consumer": "Jane Doe", "request_id": "id-1", "match": MATCH, **given}
    return Template(written).render(exchange(**given))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain text; q=1", "plain text; q=1"),
        ("", ""),
        ("Basic pa$host-$1 $5", "Basic pa$host-$1 $5"),
        ("{{{client_ip}}}", "{192.0.2.7}"),
        ("{{client_ip}}", "{client_ip}"),
        ("{route} of {service}, {request_id}", "orders of shop, id-1"),
        ("{consumer}", "Jane%20Doe"),
        ("{claim.tenant}", "acme"),
        ("{claim.https://app.example/role}", "boss"),
        ("{claim./a/b/c~1d}", "7"),
        ("{claim./a/list}", "x,y%2Cz,3,true"),
        ("{claim./a/list/1}", "y,z"),
        ("{claim./a/list/9}", ""),
        ("{claim./a/list/-1}", ""),
        ("{claim./tenant/0}", ""),
        ("{claim./a/b}", ""),
        ("{claim.off} {claim.zero} {claim.share}", "false 0 0.5"),
        ("{claim.name}", "%C5%81ukasz%20100%25"),
        ("{claim.ends}", "a%0D%0AX-Admin:%20yes%00"),
        ("{claim.half}", ""),
        ("{claim.nested}", ""),
        ("{claim.long}", ""),
        ("user-{claim.empty}", ""),
        ("user-{claim.no}", ""),
        ("user-{claim.absent}", ""),
        ("user-{claim.absent:-none}", "user-none"),
        ("user-{claim.absent:-}", "user-"),
        ("{claim.absent:-}", ""),
        ("{claim.tenant:-none}", "acme"),
    ],
)
def test_what_a_value_becomes(written: str, value: str) -> None:
    assert rendered(written) == value


@pytest.mark.parametrize("written", ["{consumer}", "a {consumer}", "{claim.tenant}", "{claim./a/b}"])
def test_without_a_consumer_nothing_is_sent(written: str) -> None:
    assert Template(written).needs_auth
    assert rendered(written, consumer=None, claims_or_token=None) == ""


@pytest.mark.parametrize("client_ip", ["192.0.2.1\r\nX-Admin: yes", "fe80::1%é", "\x00"])
def test_what_is_no_address_is_not_sent(client_ip: str) -> None:
    assert rendered("{client_ip}", client_ip=client_ip) == ""


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{clientip}", r'there is no value \{clientip\}, but client_ip, .* did you mean "\{client_ip\}"\?'),
        ("{client-ip}", r'did you mean "\{client_ip\}"\?'),
        ("$remote_addr", r"^\$remote_addr is nginx's, and would be sent as it stands: write \{client_ip\}$"),
        ("by $http_x_user", r"^\$http_x_user is nginx's, .*: there are client_ip, .* in braces$"),
        ("{Claim.tenant}", "there is no value"),
        ("{claim.}", "there is no value"),
        ("{env.9}", "there is no value between"),
        ("{pa55 word}", r"^there is no value between \{ and \}, but"),
        ("{}", "there is no value"),
        ("a { b", r'"\{" begins or ends a name'),
        ("a } b", r'write "\}\}" for a brace'),
        ("{{client_ip}", r'"\}" begins or ends a name'),
        ("a\r\nb", "only visible ASCII"),
        ("a\tb", "only visible ASCII"),
        ("a\x00", "only visible ASCII"),
        ("é", "percent-encode"),
        (" a", "a space at an end"),
    ],
)
def test_what_is_no_value(written: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Template(written)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@given(_JSON, st.text(st.characters(blacklist_categories=["Cs"])), st.sampled_from(["{claim.a}", "a {claim./a/0} b"]))
def test_no_claim_and_no_name_leaves_its_line(claim: Any, name: str, written: str) -> None:
    value = rendered(f"{written}{{consumer:-}}", claims_or_token={"a": claim}, consumer=name)
    assert re.fullmatch(r"[ -~]{0,8192}", value)
