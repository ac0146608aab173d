from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.hosts import host_name, is_internal, is_open_pattern, web_origin

EXPECTED = "expected an origin such as https://app.example.com or https://*.example.com"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("*", "*"),
        ("null", "null"),
        ("https://app.example", "https://app.example"),
        ("https://app.example/", "https://app.example"),
        ("HTTPS://App.Example:443", "https://app.example"),
        ("http://app.example:80/", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("https://app.example:08443", "https://app.example:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::0001]:3000", "http://[::1]:3000"),
        ("http://localhost:*", "http://localhost:*"),
        ("https://*.example.com:443", "https://*.example.com"),
        ("https://app-*.example.com", "https://app-*.example.com"),
        ("*://app.example", "*://app.example"),
        ("https://*", "https://*"),
        ("https://*.bücher.example", "https://*.xn--bcher-kva.example"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(written: str, sent: str) -> None:
    assert web_origin(written) == sent
    assert web_origin(sent) == sent


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("app.example", "an origin begins with its scheme: write https://app.example"),
        ("*.example.com", "an origin begins with its scheme: write https://*.example.com"),
        ("app.example:443/", "an origin begins with its scheme: write https://app.example"),
        ("https://app.example/shop", "an origin ends after host and port: write https://app.example"),
        ("wss://app.example", "browsers send the origin of the page: write https://app.example"),
        ("ws://app.example:80", "browsers send the origin of the page: write http://app.example"),
        ("https://app.example:0", "a port is a number from 1 to 65535"),
        ("https://app.example:99999", "a port is a number from 1 to 65535"),
        ("https://user@app.example", EXPECTED),
        ("https://app.example?x", EXPECTED),
        ("https://.*\\.example", EXPECTED),
        ("https://a b", EXPECTED),
        ("https://*.", EXPECTED),
        ("https://*..example", EXPECTED),
        ("https://a, https://b", EXPECTED),
        ("~^https://app", EXPECTED),
        ("https://[::1", EXPECTED),
        ("https://[fe80::1%eth0]", EXPECTED),
        ("https://", EXPECTED),
        ("ftp://x", "browsers load no pages over ftp: write https:// or http://"),
        ("FTP://*.example.com", "browsers load no pages over ftp: write https:// or http://"),
        ("file:///x", 'browsers send the origin of a file: page as null: write "null"'),
        ("data://x", 'browsers send the origin of a data: page as null: write "null"'),
        ("", EXPECTED),
    ],
)
def test_what_no_browser_sends_is_refused_with_the_right_spelling(written: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        web_origin(written)


@given(st.text(max_size=30) | st.text(alphabet="ahtps:/.*[]0159-@?# é。", max_size=20))
def test_any_text_is_an_origin_or_refused(text: str) -> None:
    for read in (web_origin, host_name):
        try:
            found = read(text)
        except ValueError:
            continue
        assert read(found) == found
        assert found.isascii()


@pytest.mark.parametrize(
    ("origin", "is_open"),
    [
        ("http://*", True),
        ("*://*", True),
        ("https://*:*", True),
        ("https://*:8443", True),
        ("https://*.com", True),
        ("https://*.*.com", True),
        ("https://app.*", True),
        ("https://app*", True),
        ("https://*example.com", True),
        ("https://*.example.com", False),
        ("https://app-*.example.com", False),
        ("https://*.example.com:*", False),
        ("http://*.localhost:3000", False),
        ("http://localhost:*", False),
        ("https://app.example.com", False),
        ("*", False),
        ("null", False),
    ],
)
def test_patterns_that_anyone_could_match(origin: str, is_open: bool) -> None:
    assert is_open_pattern(origin) == is_open


@pytest.mark.parametrize(
    ("host", "internal"),
    [
        *((host, True) for host in ("10.0.0.1", "203.0.113.7", "::1", "2001:db8::1", "localhost", "LOCALHOST", "shop")),
        *(
            (f"shop.{end}", True)
            for end in ("internal", "local", "localhost", "lan", "svc", "svc.cluster.local", "test")
        ),
        *((f"shop.{end}", True) for end in ("home.arpa", "intranet", "corp", "private", "consul", "Internal", "lan.")),
        *((host, False) for host in ("api.example.com", "internal.example.com", "lan.org")),
        *((host, False) for host in ("1.2.3.4.example", "shop.notlocal", "ip6.arpa", "svc.io")),
    ],
)
def test_which_hosts_are_on_a_network_of_one_s_own(host: str, internal: bool) -> None:
    assert is_internal(host) is internal
