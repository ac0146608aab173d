"""Requests as they come from behind a load balancer or CDN: on one connection, each is another user's.

`crowd` has the same fields in the same order with other values each time; `browser` has what browsers and HTTP
libraries send, each in its own order, with conditional requests and contents of 1 to 20 KiB.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from benchmarks.request import BROWSER_HEADERS, token
from benchmarks.tokens import issued

COUNT: Final = 4_000
"""Requests of a mix, of which no two are alike."""

_USERS: Final = 500
_PAGES: Final = 40
_POSTS: Final = 0.3  # the shares of requests
_CONDITIONAL: Final = 0.3
_CONTENT: Final = (1 << 10, 20 << 10)  # bytes

_LANGUAGES: Final = (
    "en-GB,en;q=0.9,de;q=0.7",
    "en-US,en;q=0.9",
    "de-DE,de;q=0.9,en;q=0.5",
    "fr-FR,fr;q=0.9",
    "es-ES,es;q=0.8,en;q=0.4",
    "ja,en;q=0.5",
)
_CHROME: Final = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
_FIREFOX: Final = "Mozilla/5.0 ({0}; rv:{1}.0) Gecko/20100101 Firefox/{1}.0"
_SYSTEMS: Final = (
    "X11; Linux x86_64",
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
)

_CLIENTS: Final[Sequence[tuple[int, str]]] = (
    (
        50,
        """\
Host: api.example.com
Connection: keep-alive
Content-Length: {length}
sec-ch-ua-platform: "Linux"
Authorization: Bearer {token}
User-Agent: {chrome}
Accept: application/json, text/plain, */*
sec-ch-ua: "Chromium";v="{version}", "Not_A Brand";v="24"
Content-Type: {type}
sec-ch-ua-mobile: ?0
Origin: https://app.example.com
Sec-Fetch-Site: same-site
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: https://app.example.com/
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: {language}
Cookie: {cookie}
If-None-Match: {tag}""",
    ),
    (
        15,
        """\
Host: api.example.com
User-Agent: {firefox}
Accept: application/json, text/plain, */*
Accept-Language: {language}
Accept-Encoding: gzip, deflate, br, zstd
Content-Type: {type}
Authorization: Bearer {token}
Content-Length: {length}
Origin: https://app.example.com
Connection: keep-alive
Referer: https://app.example.com/
Cookie: {cookie}
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-site
If-None-Match: {tag}
Priority: u=4""",
    ),
    (
        5,
        """\
Host: api.example.com
User-Agent: curl/8.11.1
Accept: */*
Authorization: Bearer {token}
If-None-Match: {tag}
Content-Type: {type}
Content-Length: {length}""",
    ),
    (
        15,
        """\
Host: api.example.com
Accept: */*
Accept-Encoding: gzip, deflate
Connection: keep-alive
User-Agent: python-httpx/0.28.1
Authorization: Bearer {token}
If-None-Match: {tag}
Content-Length: {length}
Content-Type: {type}""",
    ),
    (
        15,
        """\
Authorization: Bearer {token}
If-None-Match: {tag}
Content-Type: {type}
Content-Length: {length}
Host: api.example.com
Connection: Keep-Alive
Accept-Encoding: gzip
User-Agent: okhttp/4.12.0""",
    ),
)
"""How many in a hundred users have which client, and its fields over HTTP/1.1: Chromium's, Firefox's, curl's, httpx's,
okhttp's. One that has no value is left out."""


@dataclass(frozen=True)
class _User:
    values: dict[str, str]
    client: str


def crowd(route: str = "bench", algorithm: str = "") -> list[tuple[bytes, bytes]]:
    """Heads and contents, which are empty, of GET requests with 15 fields to /api/`route`.

    Tokens are of the algorithm, of tokens.py's; HS256 where none is said.
    """
    chance, users = random.Random(1), _users(algorithm)
    return [_of_crowd(chance, chance.choice(users), route) for _ in range(COUNT)]


def browser(route: str = "bench") -> list[tuple[bytes, bytes]]:
    """Heads and contents to the same; three in ten are POST requests with a content."""
    chance, users = random.Random(2), _users("")
    return [_of_client(chance, chance.choice(users), route) for _ in range(COUNT)]


@cache
def _users(algorithm: str) -> Sequence[_User]:
    chance = random.Random(3)
    return [_user(chance, f"user-{number}", algorithm) for number in range(_USERS)]


def _user(chance: random.Random, name: str, algorithm: str) -> _User:
    system, version = chance.choice(_SYSTEMS), str(chance.randrange(120, 134))
    values = {
        "token": issued(algorithm, sub=name) if algorithm else token(sub=name),
        "language": chance.choice(_LANGUAGES),
        "cookie": f"theme=dark; locale=en-GB; consent=1; visit={chance.getrandbits(64):016x}",
        "version": version,
        "chrome": _CHROME.format(system, version),
        "firefox": _FIREFOX.format(system, version),
    }
    [(_, client)] = chance.choices(_CLIENTS, [weight for weight, _ in _CLIENTS])
    return _User(values, client)


def _of_crowd(chance: random.Random, user: _User, route: str) -> tuple[bytes, bytes]:
    fields = BROWSER_HEADERS | {
        "User-Agent": user.values["chrome"],
        "Accept-Language": user.values["language"],
        "Referer": f"https://app.example.com/portfolio/{chance.randrange(_PAGES)}",
        "Cookie": user.values["cookie"],
        "traceparent": f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01",
        "Authorization": f"Bearer {user.values['token']}",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {_target(chance, route)} HTTP/1.1\r\n{head}\r\n".encode(), b""


def _of_client(chance: random.Random, user: _User, route: str) -> tuple[bytes, bytes]:
    content, own = b"", {"length": "", "type": "", "tag": ""}
    if chance.random() < _POSTS:
        content = b'{"note":"' + b"x" * chance.randint(*_CONTENT) + b'"}'
        own |= {"length": str(len(content)), "type": "application/json"}
    elif chance.random() < _CONDITIONAL:
        own["tag"] = f'"{chance.getrandbits(64):016x}"'
    lines = user.client.format(**user.values, **own).splitlines()
    head = "".join(f"{line}\r\n" for line in lines if not line.endswith(": "))
    method = "POST" if content else "GET"
    return f"{method} {_target(chance, route)} HTTP/1.1\r\n{head}\r\n".encode(), content


def _target(chance: random.Random, route: str) -> str:
    page = chance.randrange(_PAGES)
    return f"/api/{route}/items/{chance.randrange(10**6)}/orders?page={page}&since={chance.getrandbits(40)}"


MIXES: Final[Mapping[str, Callable[[str], list[tuple[bytes, bytes]]]]] = {"crowd": crowd, "browser": browser}
