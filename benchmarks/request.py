"""The requests of the benchmark: a browser's headers, a token, and a number that differs every time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jwt

SECRET = "benchmark-secret-that-guards-nothing-at-all"  # 43 bytes: RFC 7518, section 3.2 asks for at least 32
SEQUENCE = "@SEQ@"
"""Stands for the number of the request; the load generator puts it in."""
ROUTE = "@ROUTE@"
"""Stands for the number of a route, which loads/wrk.lua puts in."""
TOKEN = "@TOKEN@"
"""Stands for a token of the request's own, which it puts in too."""

CACHEABLE = "/cacheable"
"""The backend's path whose answer says that anybody may have it for an hour."""
STAMPED = "/stamped"
"""The same with the time in it: two answers that are alike are one."""
MEBIBYTE = "/mebibyte"
"""The backend's path of a body of that size."""
GIBIBYTE = "/gibibyte"
"""The same, 1,024 times as large."""
REPORT = "/report"
"""The backend's path of a JSON document of 64 KiB."""
EXPORT = "/export"
"""The same of 50 MiB."""
GZIP_LEVEL = 6
"""The same for all who compress: that of most programs where none is named."""
TENANT = "acme"
"""What a rule or a hook sends the service as X-Tenant."""
SEEN = "/seen"
"""The backend's path that answers with what reached it: the connection's number, and what the gateway added."""

_FAR_FUTURE = 4102444800  # 2100-01-01

BROWSER_HEADERS = {
    "Host": "api.example.com",
    "Connection": "keep-alive",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.7",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Origin": "https://app.example.com",
    "Referer": "https://app.example.com/portfolio/overview?tab=positions",
    "Cookie": "theme=dark; locale=en-GB; consent=1; visit=8c1f0c52b7a54a0e",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-site",
    "Priority": "u=1, i",
}


CLAIMS = {"sub": "alice", "iat": 1700000000, "exp": _FAR_FUTURE, "scope": "bench:read"}


def token(secret: str = SECRET, **more: Any) -> str:
    """A JSON Web Token (HS256) that stays valid for as long as anyone will run this."""
    return jwt.encode({**CLAIMS, **more}, secret, algorithm="HS256")


@dataclass(frozen=True)
class Request:
    """One request of a scenario.

    `path` follows the gateway's prefix; `body` is in bytes; `headers` are sent beside the Authorization header: the
    first of a browser's, then made-up ones. With `varied` one more differs in every request. With `routes` requests
    spread over so many of them, with `urls` over so many URLs of one route, again and again; with `ids` the number of
    each is in its path, which no other request has. With `tokens`, the algorithm, each has a token of its own.
    """

    path: str
    method: str = "GET"
    body: int = 0
    headers: int = len(BROWSER_HEADERS)
    varied: bool = False
    routes: int = 0
    ids: bool = False
    urls: int = 0
    tokens: str = ""

    @property
    def spread(self) -> int:
        """Over how many numbers in the place of ROUTE requests spread; 0: there is none."""
        return self.routes or self.urls

    def fields(self, authorization: str, sequence: str = SEQUENCE) -> dict[str, str]:
        """The header fields in the order in which they are sent."""
        chosen = dict(list(BROWSER_HEADERS.items())[: self.headers])
        chosen |= {f"X-Detail-{n}": f"value {n} of the kind" for n in range(len(BROWSER_HEADERS), self.headers)}
        chosen |= {"Authorization": f"Bearer {authorization}"}
        if self.varied:
            chosen |= {"X-Request-Seq": sequence}
        if self.body:
            chosen |= {"Content-Type": "application/json", "Content-Length": str(self.body)}
        return chosen

    def target(self, sequence: str = SEQUENCE, route: str = ROUTE) -> str:
        """The request target, with the number in its query: no two requests are alike but with `urls`."""
        number = route if self.urls else sequence
        path = f"/api/bench{route if self.routes else ''}{self.path}"
        return f"{path}/{number}" if self.ids else f"{path}?page=2&seq={number}"

    def payload(self) -> str:
        """A JSON document of exactly `body` bytes, or nothing."""
        return '{"note":"' + "x" * (self.body - 11) + '"}' if self.body else ""

    def template(self) -> str:
        """The whole request as it goes over the wire, with SEQUENCE and ROUTE where the numbers belong."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self.fields(TOKEN if self.tokens else token()).items())
        return f"{self.method} {self.target()} HTTP/1.1\r\n{head}\r\n{self.payload()}"
