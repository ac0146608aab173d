"""What is tried: valid messages by a model, mutations of the corpus with gadgets of smuggling, and orders of events.

Everything is drawn from a `random.Random`: a seeded one in the long run, Hypothesis's own in the short one.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from support.corpus import corpus, raw_bytes

from .case import Answer, Case
from .plan import TOKEN

TARGETS: Final = (
    *("/api/plain", "/api/plain/x", "/api/plain/x/y?z=/api", "/api/%70lain/%2e%41", "/api/plain//x", "/api/plain?"),
    *("/api/open/", "/api/open/a%2Fb", "/api/guarded/p", "/fixed", "/fixed/more?q", "/a/b", "/a/b/c/d/", "/own/k"),
    *("/livez", "/", "/health", "/nowhere", "/metrics?x", "http://a.example.com/api/plain/abs", "http://a/fixed?x"),
    *(
        "/u/7",
        "/u/a%2Fb?x",
        "/u/%2561",
        "/u/a/b",
        "/fixed?beta=1",
        "/fixed?beta=1&beta=2",
        "/moved//x?y",
        "/text",
        "/text/",
    ),
    *("http://a", "*", "/api/plain/%zz", "/api/../x", "/api/plain/" + "x" * 300),
)
METHODS: Final = ("GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "QUERY", "PROPFIND", "get")
SPARE_FIELDS: Final = (
    *(
        "Accept: */*",
        "Accept: text/html, text/plain;q=0.5",
        "User-Agent: fuzz",
        "Cookie: a=b; c=d",
        "X-Empty:",
        "X-Text: \xe9\x80\tx",
        "X-Slow: 1",
        "X-Key: k",
    ),
    *("Connection: keep-alive", "Connection: close", "Connection: X-Gone, keep-alive", "X-Gone: gone", "TE: trailers"),
    *(
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Upgrade: websocket",
        "Trailer: X-Sum",
        "Expect: 100-continue",
    ),
    *("X-Forwarded-For: 203.0.113.5, 10.0.0.9", "X_Forwarded_For: 127.0.0.1", "X-Forwarded_Proto: https", "Via: 1.0 a"),
    *(
        "Forwarded: for=127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "X_Real-IP: ::1",
        "X-Request-ID: chosen",
        "X_Request_ID: bad",
    ),
    *(
        "traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
        "tracestate: a=b",
        "X-Consumer-Username: root",
    ),
    *("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /p"),
    *("Origin: https://app.example.com", "Origin: null", "Access-Control-Request-Method: PUT", "Content_Length: 5"),
    *(
        "Transfer_Encoding: chunked",
        "Proxy-Authorization: Basic eDp5",
        f"Authorization: Bearer {TOKEN}",
        f"Authorization: Bearer {TOKEN}\r\nX-Tenant: forged\r\nx_tenant: forged",
        "Range: bytes=0-",
    ),
    *(
        "Authorization: Bearer x.y.z",
        "Access-Control-Request-Headers: x-a, x-b",
        "Max-Forwards: 0",
        "X-Consumer_Scopes: a",
    ),
)
HOSTS: Final = ("a", "a.example.com", "A.Example.Com:8080", "[::1]:80", "b.example.com", "127.0.0.1")
GADGETS: Final = tuple(
    gadget.encode("latin-1")
    for gadget in (
        *("Transfer-Encoding: chunked\r\n", "Transfer-Encoding : chunked\r\n", "Transfer-Encoding: xchunked\r\n"),
        *(
            "Transfer-Encoding:\x0bchunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding\t:chunked\r\n",
        ),
        *(
            "X: x\r\nTransfer-Encoding: chunked\r\n",
            "X: x\nTransfer-Encoding: chunked\r\n",
            " Transfer-Encoding: chunked\r\n",
        ),
        *("Content-Length: 0\r\n", "Content-Length: 5\r\n", "Content-Length: +5\r\n", "Content-Length: 5, 5\r\n"),
        *("Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length:\r\n 5\r\n", "content-length: 0x5\r\n"),
        *(
            "Host: b\r\n",
            "Connection: Content-Length\r\n",
            "Connection: close, X-Forwarded-For\r\n",
            "Expect: 100-continue\r\n",
        ),
        *(
            "0\r\n\r\n",
            "0\n\n",
            "0;\r\n\r\n",
            "5\r\nhello\r\n",
            "5;a=b\r\nhello\r\n",
            "50\nhello\r\n",
            "00000\r\nX: y\r\n\r\n",
            "-1\r\n",
            "g\r\n",
        ),
        *("ffffffffffffffff\r\n", "1\rA\r\nx\r\n", "3\r\nabcX", "0\r\nX: y\r\n z\r\n\r\n", "0\r\n\r\r\n"),
        *(
            "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nX: ",
            "\r\nGET /api/plain/s HTTP/1.0\r\n\r\n",
        ),
        *("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 101 Up\r\n\r\n"),
        *("HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 103 Hints\r\nLink: x\r\nContent-Length: 4\r\n\r\n"),
        *(
            "\r\n",
            "\n",
            "\r",
            "\x00",
            "\x7f",
            "\t",
            " ",
            ":",
            ",",
            ";",
            "\x85",
            "\xa0",
            "\r\n\r\n",
            " HTTP/1.1\r\n",
            "%",
            "#",
        ),
    )
)


def _seeds(kind: str) -> list[bytes]:
    raws = [raw_bytes(case["raw"]) for case in corpus(kind)]
    return [raw for raw in raws if len(raw) < 2000]


REQUEST_SEEDS: Final = _seeds("request")
RESPONSE_SEEDS: Final = _seeds("response")

# ---- messages by a model


def content(random: Random) -> bytes:
    """A body that likes to look like something else."""
    made = b""
    for _ in range(random.randint(0, 3)):
        made += random.choice((b"0\r\n\r\n", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"@@@@", b"x" * random.randint(1, 40)))
    return made * random.choice((1, 1, 1, 1, 1, 1, 1, 1, 1, 400))


def chunked(random: Random, body: bytes) -> bytes:
    """The body in chunks of any sizes, with any extensions and trailers."""
    made = b""
    while body:
        size = random.randint(1, len(body))
        digits = random.choice(("%x", "%X", "%04x")) % size
        made += (
            digits.encode() + random.choice((b"", b"", b";a", b";a=b", b';a="b;c"')) + b"\r\n" + body[:size] + b"\r\n"
        )
        body = body[size:]
    trailer = random.choice((b"", b"", b"", b"X-Sum: 1\r\n", b"Content-Length: 4\r\nHost: b\r\n"))
    return made + random.choice((b"0", b"000")) + b"\r\n" + trailer + b"\r\n"


def valid_request(random: Random) -> bytes:
    """A request that breaks no rule of framing, though perhaps one of the gateway's."""
    method = random.choice(METHODS)
    version = random.choice(("1.1", "1.1", "1.1", "1.1", "1.0"))
    lines = [f"{method} {random.choice(TARGETS)} HTTP/{version}", f"Host: {random.choice(HOSTS)}"]
    lines += random.sample(SPARE_FIELDS, random.choice((0, 0, 1, 2, 4, 8)))
    body = content(random) if method in ("POST", "PUT", "PATCH", "PROPFIND") else b""
    if body or random.randint(0, 9) == 0:
        if version == "1.1" and random.randint(0, 1):
            lines.append("Transfer-Encoding: chunked")
            body = chunked(random, body)
        else:
            lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def plain_request(random: Random) -> bytes:
    """A request that every rule and route allows, and whose connection lives on."""
    body = content(random)
    method, service = random.choice(("GET", "POST", "PUT")), random.choice(("plain", "open"))
    lines = [
        f"{method} /api/{service}/{random.randint(0, 99)} HTTP/1.1",
        "Host: a",
        *random.sample(("Accept: */*", "Cookie: a=b", "X_Forwarded_For: ::1", "Connection: X-Gone", "X-Gone: 1"), 2),
    ]
    if random.randint(0, 1):
        lines.append("Transfer-Encoding: chunked")
        body = chunked(random, body)
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def valid_answer(random: Random) -> Answer:
    """A response without a fault, of any framing; some statuses are tried again."""
    status = random.choice((200, 200, 200, 200, 404, 204, 304, 503, 500, 205, 302, 201))
    lines = [f"HTTP/{random.choice(('1.1', '1.1', '1.1', '1.0'))} {status} {random.choice(('OK', '', 'x y'))}"]
    lines += random.sample(
        (
            *(
                "Server: s",
                "Set-Cookie: a",
                "Set-Cookie: b",
                "Connection: X-Gone",
                "X-Gone: 1",
                "Keep-Alive: timeout=3",
            ),
            *("Connection: close", "Connection: Keep-Alive", "X-Request-ID: theirs", "Date: now", "Upgrade: h2c"),
            *("Access-Control-Allow-Origin: *", "Trailer: X", "Vary: x", "Content-Type: text/plain", "X-T: \xff"),
        ),
        random.choice((0, 1, 3)),
    )
    body, end = content(random), "keep"
    framing = random.choice(("length", "length", "chunked", "close"))
    if status in (204, 304):
        body = b""
    elif framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "chunked" and lines[0].startswith("HTTP/1.1"):
        lines.append("Transfer-Encoding: chunked")
        body = chunked(random, body)
    else:
        end = "close"
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        raw = random.choice((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")) + raw
    return Answer(raw.decode("latin-1"), early=random.randint(0, 3) == 0, end=end)


# ---- mutations


def mutated(random: Random, data: bytes, most: int = 4) -> bytes:
    """The data with a few bytes or lines removed, inserted, doubled or put elsewhere."""
    for _ in range(random.randint(1, most)):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.choice((0, 0, 1, 1, 2, 8, 40)))
        kind = random.randint(0, 5)
        if kind == 0:
            lines = data.split(b"\r\n")
            line = random.randrange(len(lines))
            lines.insert(random.randint(0, len(lines)), lines[line])
            data = b"\r\n".join(lines)
        elif kind == 1:
            lines = data.split(b"\r\n")
            lines[random.randrange(len(lines))] = random.choice(GADGETS).removesuffix(b"\r\n")
            data = b"\r\n".join(lines)
        elif kind == 2:
            data = data[:start] + bytes([random.randrange(256)]) + data[end:]
        elif kind == 3:
            data = data[:start] + data[start:end] * 2 + data[end:]
        else:
            data = data[:start] + random.choice(GADGETS) + data[end:]
    return data


def any_requests(random: Random) -> bytes:
    """What a client may send: some valid, some of the corpus, most of it mutated."""
    made = b""
    for _ in range(random.randint(1, 4)):
        part = valid_request(random) if random.randint(0, 1) else random.choice(REQUEST_SEEDS)
        part = part.replace(b" /p ", b" /api/plain/p ", 1).replace(b"GET / ", b"GET /api/plain ", 1)
        made += mutated(random, part) if random.randint(0, 1) else part
    return mutated(random, made, 2) if random.randint(0, 2) == 0 else made


def any_answer(random: Random) -> Answer:
    """What a service may answer."""
    answer = valid_answer(random)
    kind = random.randint(0, 5)
    if kind == 0:
        answer.raw = random.choice(RESPONSE_SEEDS).decode("latin-1")
    if kind == 1:
        answer.raw += random.choice((valid_answer(random).raw, "x", "\r\n"))
    if kind != 2:
        answer.raw = mutated(random, answer.raw.encode("latin-1"), 3).decode("latin-1")
    answer.end = random.choice((answer.end, answer.end, "keep", "close", "reset"))
    return answer


# ---- orders of events

_ORDERS: Final = (".c.c.s", "c.s.", "cs.", "C.sS..", "c.c.sst01", "c.s.pr", "c.s.pr01q", "c.s.wqt", "0c1c2c.s.S")
_RARE: Final = "hxERTUnTtpq"


def schedule(random: Random, most: int = 30) -> str:
    """An order of a case's events: one style, with something rare now and then."""
    style = random.choice(_ORDERS)
    letters = [random.choice(style) for _ in range(random.randint(0, most))]
    for _ in range(random.choice((0, 0, 1, 2))):
        letters.insert(random.randint(0, len(letters)), random.choice(_RARE))
    return "".join(letters)


def sizes(random: Random) -> list[int]:
    """Sizes of pieces, from single bytes to whole messages."""
    most = random.choice((1, 3, 20, 200, 5000, 1 << 20))
    return [random.randint(1, most) for _ in range(random.randint(1, 5))]


def limits(random: Random) -> dict[str, int]:
    """Mostly none, sometimes so small that they are met."""
    if random.randint(0, 5):
        return {}
    return {"header_size": random.choice((300, 2000)), "body_size": random.choice((10, 5000)), "url_length": 256}


def text(data: bytes) -> str:
    return data.decode("latin-1")


def wild(random: Random, request: Any, answer: Any, clients: int = 1) -> Case:
    """A case of these requests and answers in which everything else is drawn too."""
    return Case(
        clients=[text(request(random)) for _ in range(random.randint(1, clients))],
        answers=[answer(random) for _ in range(random.randint(1, 4))],
        sizes=sizes(random),
        schedule=schedule(random),
        dials=random.choice(("o", "o", "o", "l", "or", "r", "oln", "ro")),
        trusted=random.randint(0, 3) == 0,
        hangs_up=random.randint(0, 7) == 0,
        limits=limits(random),
    )


def load(line: str) -> Case:
    """A case from its JSON."""
    return Case.load(json.loads(line))
