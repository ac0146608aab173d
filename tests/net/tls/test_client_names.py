"""Names of certificates of clients, as they are written."""

from __future__ import annotations

import pytest

from portico.net.tls.client_names import checked_certificate_name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("CN=alice,O=Example", "CN=alice,O=Example"),
        ("CN=a\\2C b", "CN=a\\, b"),
        ("CN=Za\u017c\u00f3\u0142\u0107", "CN=Za\u017c\u00f3\u0142\u0107"),
        ("DNS:Alice.Example.", "DNS:alice.example"),
        ("URI:spiffe://Example/a", "URI:spiffe://Example/a"),
        ("email:a@b.example", "email:a@b.example"),
        ("IP:2001:DB8:0::1", "IP:2001:db8::1"),
        ("SHA256:" + "0A" * 32, "sha256:" + "0a" * 32),
    ],
)
def test_the_form_in_which_names_are_compared(written: str, name: str) -> None:
    assert checked_certificate_name(written) == name


@pytest.mark.parametrize(
    "written",
    ["", "alice", "alice.example", "DNS:", "DNS:*.example", "URI:", "IP:x", "sha256:00", "O", "dns:a", "CN=a,", "=a"],
)
def test_what_is_none(written: str) -> None:
    with pytest.raises(ValueError, match=r"expected|patterns|address"):
        checked_certificate_name(written)
