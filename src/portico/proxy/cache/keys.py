"""The primary key of a stored response: URL, what the settings select beside it, and whose cache it is."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from portico.proxy.cache.asked import ABSENT, Asked
from portico.proxy.cache.query import NoVarySearch
from portico.proxy.cache.rules import Rules

CONTENT_LIMIT: Final = 64 << 10
"""Bytes of a QUERY's content, at most, with which its response is stored."""

_METADATA: Final = (b"content-type", b"content-encoding", b"content-language")
"""What says, beside its content, what a QUERY asks."""


def primary_key(
    rules: Rules, scheme: bytes, host: bytes, target: bytes, asked: Asked, method: bytes = b"GET", content: bytes = b""
) -> bytes:
    """The key of a request: `target` is its path and query as sent, `scheme` and `host` are what its service is told.

    HEAD has GET's. For QUERY it depends on the content, its type and coding too (RFC 10008, section 2.7). It has a line
    for the scope and URL, and one each for what is selected beside it: it can be shown, and tells all requests apart.
    """
    if not rules.query.keeps_all:
        path, mark, query = target.partition(b"?")
        target = path + rules.query.of(mark + query)
    key = b"".join((rules.scope, b" ", url_of(scheme, host, target), key_part(rules, asked)))
    return key + _query_part(asked, content) if method == b"QUERY" else key


def key_start(rules: Rules, scheme: bytes, host: bytes) -> bytes:
    """What a GET's key begins with where the whole query belongs to it: target and `key_part` follow."""
    return b"%b %b" % (rules.scope, url_of(scheme, host, b""))


def url_of(scheme: bytes, host: bytes, target: bytes) -> bytes:
    """`https://host/path?query` as keys and purges have it: the host in lower case, without the default port."""
    host = host.lower()
    if host.endswith(_DEFAULT_PORTS.get(scheme, _NO_PORT)):
        host = host[: host.rindex(b":")]
    return b"%b://%b%b" % (scheme, host, target)


def url_in(key: bytes) -> bytes:
    """The URL in a key to which the whole query belongs."""
    return key.partition(b" ")[2].partition(b"\n")[0]


def path_key(rules: Rules, scheme: bytes, host: bytes, target: bytes) -> bytes:
    """What requests share that differ in their query alone: by it, the `NoVarySearch` of a path is remembered."""
    return b"%b %b" % (rules.scope, url_of(scheme, host, target.partition(b"?")[0]))


def key_without(said: NoVarySearch, rules: Rules, scheme: bytes, host: bytes, target: bytes, asked: Asked) -> bytes:
    """The key of a GET, less those parameters that do not matter by what a response for its path said."""
    path, mark, query = target.partition(b"?")
    url = url_of(scheme, host, path + said.of_query(mark + query))
    return b"".join((rules.scope, b" ", url, b"\nno-vary-search ", said.text, key_part(rules, asked)))


def key_part(rules: Rules, asked: Asked) -> bytes:
    """What the settings select of a request's fields, remembered with it."""
    if asked.memo_by is not rules:
        lines, asked.names_cookies = _cookie_lines(rules, asked.cookie)
        for name in rules.headers:
            value = asked.value(name)
            if value != ABSENT:
                lines.append(b"%b: %b" % (name, value.replace(b"\n", b"\r")))
        asked.key_part = b"".join(b"\n" + line for line in lines)
        asked.memo_by = rules
    return asked.key_part


def _cookie_lines(rules: Rules, cookie: bytes | None) -> tuple[list[bytes], bool]:
    """The cookies that the key names, and whether these are all but the gateway's own.

    What is not plain is read differently by servers.
    """
    if cookie is None:
        return [], True
    if not (rules.cookies or rules.number_cookie) or b'"' in cookie:
        return [], False
    found: dict[bytes, list[bytes]] = {name: [] for name in rules.cookies}
    is_all = True
    for part in cookie.split(b";"):
        text = part.strip()
        name, _, value = text.partition(b"=")
        if name in found:
            found[name].append(text)
        elif text and not (name == rules.number_cookie and _NUMBER.fullmatch(value)):
            is_all = False
    return [b"cookie " + text for texts in found.values() for text in texts], is_all


def _query_part(asked: Asked, content: bytes) -> bytes:
    digest = sha256()
    for value in (*(asked.fields.get(name) or b"" for name in _METADATA), content):
        digest.update(b"%d:" % len(value))
        digest.update(value)
    return b"\nQUERY " + digest.hexdigest().encode()


_NUMBER: Final = re.compile(rb"\d{1,4}")
_DEFAULT_PORTS: Final = {b"http": (b":80",), b"https": (b":443",)}
_NO_PORT: Final = ()
