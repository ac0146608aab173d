"""The request that is asked about, read by what reads the requests of clients."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from portico.config import Config
from portico.core.fields import PASSES, REQUEST_DROP
from portico.core.messages import RequestHead
from portico.wire.frontend import Limits
from portico.wire.http1.grammar import parse_request_head

_URL: Final = re.compile(
    r"(?P<scheme>https?|wss?)://(?:[^/?#]*@)?(?P<host>[^/?#@]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
_SCHEMES: Final = {"ws": "http", "wss": "https"}
_PORT: Final = re.compile(r":([0-9]{1,5})$")
_USUAL_PORTS: Final = {"http": 80, "https": 443}
_SENT: Final = "/?%:@!$&'()*+,;=-._~[]"
_DOTS: Final = re.compile(r"/\.\.?(?:/|$)")
_LINE_ENDS: Final = re.compile(r"[\r\n]")


@dataclass(frozen=True, slots=True)
class Question:
    """A request as somebody describes it.

    `url` is a path, or a URL whose host becomes the Host field and whose scheme says whether there is TLS. `headers`
    are names and values in order. Without a `listener` it is the one that the URL names, else the first.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    client_ip: str = "127.0.0.1"
    listener: str | None = None

    @property
    def scheme(self) -> str | None:
        """`http` or `https`; None where the URL is a path."""
        found = _URL.fullmatch(self.url)
        scheme = found["scheme"].lower() if found else None
        return _SCHEMES.get(scheme, scheme) if scheme else None

    @property
    def port(self) -> int | None:
        """That of the URL, written or not; None where it is a path."""
        scheme = self.scheme
        written = _PORT.search(self.authority)
        return int(written[1]) if written else _USUAL_PORTS[scheme] if scheme else None

    @property
    def authority(self) -> str:
        """The host of the URL, with its port; empty where it is a path."""
        found = _URL.fullmatch(self.url)
        return found["host"] if found else ""

    @property
    def target(self) -> str:
        """What a client sends of the URL: the part behind a `#` is never sent."""
        found = _URL.fullmatch(self.url)
        target = (found["rest"] if found else self.url).partition("#")[0]
        return target if target and not target.startswith("?") else "/" + target

    def has(self, name: str) -> bool:
        """Whether a field of this name is written."""
        return any(own.lower() == name for own, _ in self.headers)

    def check(self) -> None:
        """Raises ValueError for what cannot be sent: a line end would begin another field."""
        is_target = self.url == "*" or self.url.startswith(("/", "?")) or self.scheme is not None
        if not self.method or "/" in self.method or not is_target:
            raise ValueError("expected a method, then a path or a URL: GET /users, or GET https://shop.example/users")
        for text in (self.method, self.url, *(part for pair in self.headers for part in pair)):
            if _LINE_ENDS.search(text):
                raise ValueError("a line end is no part of a request's line or field")
        if any(not name.strip() for name, _ in self.headers):
            raise ValueError("expected a field as NAME: VALUE")

    def notes(self) -> list[str]:
        """What clients do that is not done here, where it makes a difference."""
        found = []
        if "#" in self.url:
            found.append("what follows the # of a URL is never sent")
        if self.scheme is not None and "@" in self.url.split("/", 3)[2]:
            found.append("clients make Authorization: Basic of what stands before the @ of a URL: say it with -H")
        if not self.target.isascii() or " " in self.target:
            found.append(f"clients send it encoded: {quote(sent(self.target), safe=_SENT)}")
        if _DOTS.search(self.target.partition("?")[0]):
            found.append("most clients resolve . and .. before they send a path (curl: --path-as-is)")
        if not self.authority and not self.has("host"):
            found.append("neither the URL nor a header names a host: localhost is taken")
        return found

    def lines(self) -> Iterator[tuple[str, str]]:
        """The fields that are sent: those that are written, and those that every client adds."""
        if not self.has("host"):
            yield "Host", self.authority or "localhost"
        yield from self.headers
        if self.body and not (self.has("content-length") or self.has("transfer-encoding")):
            yield "Content-Length", str(len(self.body))

    def head(self) -> bytes:
        """The bytes of its head."""
        fields = "".join(f"{name}: {value}\r\n" if value else f"{name}:\r\n" for name, value in self.lines())
        return sent(f"{self.method} {self.target} HTTP/1.1\r\n{fields}\r\n")


def read(question: Question, limits: Limits, passes: Callable[[bytes], bool] = PASSES) -> RequestHead:
    """Its head, read as one that a client sends, of which those fields go on. Raises MessageError."""
    head = question.head()
    end = len(head) - 4
    if end > limits.header_size and (error := limits.broken_by(head, end)) is not None:
        raise error
    line, _, block = head[:end].partition(b"\r\n")
    return parse_request_head(line, block, limits.header_count, limits.url_length, REQUEST_DROP, passes)


def sent(text: str) -> bytes:
    """The bytes of a text: UTF-8, and those of a command line that are none."""
    return text.encode("utf-8", "surrogateescape")


def shown(data: bytes) -> str:
    """Bytes as text: UTF-8, and what is none escaped."""
    return data.decode("utf-8", "backslashreplace")


def limits_of(config: Config) -> Limits:
    """What a client may send."""
    written = config.gateway.limits
    return Limits(
        header_size=written.header_size,
        header_count=written.header_count,
        url_length=written.url_length,
        body_size=written.body_size,
    )
