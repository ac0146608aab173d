"""Heads of HTTP/1.1 messages: a few regular expressions say what is accepted, and what they do not match is refused.

The expressions are the grammar of RFC 9112 (request-line, status-line) and RFC 9110, section 5 (field lines), with
every leniency left out: no obs-fold, no bare CR or LF, no white space before a colon, no control bytes. Possessive
quantifiers keep the match linear. What passes is exactly what Portico would write itself.

Field lines are cached: a client sends the same `User-Agent` and `Accept` again and again, so most lines of a head
cost one dictionary lookup, done in C, and only new ones are matched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from ipaddress import IPv6Address
from typing import Final

from portico.core.caches import ages
from portico.core.errors import STATUS_LINES, MessageError
from portico.core.fields import END_TO_END, END_TO_END_PREFIXES, REQUEST_RULES
from portico.core.messages import CHUNKED, UNTIL_CLOSE, Fields, Known, RequestHead, ResponseHead, Shape
from portico.wire.http1.diagnosis import diagnosed

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_FIELD = _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e]++) HTTP/1\.([01])")  # a target has no #
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?")
_FIELD_LINE: Final = re.compile(rb"(" + _TOKEN + rb"):[\t\x20-\x7e\x80-\xff]*+")
_FIELD_LINES: Final = re.compile(rb"(?:" + _FIELD + rb"\r\n)*+")
_HOST: Final = re.compile(
    rb"(?:(?:[A-Za-z0-9_~-]++(?:\.[A-Za-z0-9_~-]++)*+\.?)|\[([0-9A-Fa-f:.]{2,45})\])"
    rb"(?::(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)
"""A name of dotted labels, or an IPv6 address in brackets, and a port up to 65535.

RFC 3986 would allow commas, quotes and percent-encoding in a name. No host on the Internet has them, and what one
parser reads as a list is a name to another.
"""
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@]*+)([/?].*+)?", re.IGNORECASE)
LENGTH_DIGITS: Final = 18
STATUS_PHRASE: Final = len(b"HTTP/1.1 200 ")
"""Where the phrase begins in a status line."""
_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"timeout=([0-9]{1,6})", re.IGNORECASE)
_KNOWN_HOSTS: Final = 4096
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)++")
_HOPELESS: Final = re.compile(rb"(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

DECIDING: Final = REQUEST_RULES | {b"host"}
"""Fields of a request on which its host, its framing or its connection depends."""
WITHOUT_BODY: Final = (204, 304)
"""Statuses of responses that never have one."""
_NO_NAMES: Final[frozenset[bytes]] = frozenset()
_CONNECTION_OPTIONS: Final = frozenset(
    {b"close", b"keep-alive", b"upgrade", b"te", b"trailer", b"transfer-encoding", b"proxy-connection"}
)

_SLASH: Final = 0x2F
_METHOD_LENGTH: Final = 32
METHOD_NAMES: Final = {
    name.encode(): name
    for name in (
        *("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"),
        *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"),
    )
}
"""Methods in use, so that their names as text are made once; other methods are not kept."""
_METHODS_REFUSED: Final = frozenset({b"CONNECT", b"TRACE"})
_USUAL_CONNECTION: Final[dict[bytes | None, tuple[bytes, ...]]] = {
    value: (value.lower(),) for value in (b"keep-alive", b"Keep-Alive", b"close")
}
"""The most common values of `Connection`, recognized without parsing."""


class _FieldNames(dict[bytes, bytes]):
    """The lower-cased name of each valid field line that came more than once; a lookup checks a line that is new.

    Lines that come once, with a time or an id in them, are dropped soon and do not evict lines that repeat. Raises
    ValueError for a line that is not valid.
    """

    def __init__(self) -> None:
        super().__init__()
        self._once: set[bytes] = set()

    def __missing__(self, line: bytes) -> bytes:
        match = _FIELD_LINE.fullmatch(line)
        if match is None:
            raise ValueError("not a field line")
        name = match[1].lower()
        if len(line) <= _REMEMBERED_SIZE:
            if line in self._once:
                if len(self) >= _REMEMBERED_LINES:
                    self.clear()
                self[line] = name
            else:
                if len(self._once) >= _NEW_LINES:
                    self._once.clear()
                self._once.add(line)
        return name

    def age(self, now: float) -> None:  # noqa: ARG002
        """Forget all: those in use come back with the next requests."""
        self.clear()
        self._once.clear()


class _KnownHosts(set[bytes]):
    """Values of Host that were found valid; a gateway sees few, even with many requests."""

    def age(self, now: float) -> None:  # noqa: ARG002
        """Forget all, so that those that came first do not keep out the others for good."""
        self.clear()


_REMEMBERED_LINES: Final = 8192
_NEW_LINES: Final = 256
_REMEMBERED_SIZE: Final = 512
_known_hosts: Final = ages(_KnownHosts())
name_of: Final = ages(_FieldNames()).__getitem__
"""The lower-cased name of a field line; raises ValueError for a line that is not valid."""


def parse_request_head(
    line: bytes,
    block: bytes,
    header_count: int,
    url_length: int,
    noted: frozenset[bytes],
    passes: Callable[[bytes], bool] | None = None,
) -> RequestHead:
    """A request head from its first `line` and the `block` of its field lines, neither with the CRLF that ends it.

    `noted` are the names that `RequestHead.noted` may contain; they include `REQUEST_RULES`. `passes` says which fields
    are passed on (see `Shape`). Raises MessageError where the head breaks RFC 9112 or a limit (`header_count` fields,
    `url_length` bytes of target).
    """
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise diagnosed(line + b"\r\n" + block)
    request = RequestHead()
    request.known = Known()
    _take_line(request, match, url_length)
    _parse_fields(request, line, block, header_count, noted, passes)
    if request.target[0] != _SLASH:
        request.target, request.host = _origin_form(request.method, request.target, request.host)
    return request


def _take_line(request: RequestHead, match: re.Match[bytes], url_length: int) -> None:
    request.method, request.target, minor = match.groups()
    if len(request.method) > _METHOD_LENGTH or request.method in _METHODS_REFUSED:
        raise MessageError("not_implemented", f"{request.method[:32].decode()} is not offered by this gateway")
    request.method_name = METHOD_NAMES.get(request.method) or request.method.decode()
    if len(request.target) > url_length:
        raise MessageError("url_too_long", f"the request target is longer than {url_length} bytes")
    request.version = 11 if minor == b"1" else 10


def _parse_fields(
    request: RequestHead,
    line: bytes,
    block: bytes,
    header_count: int,
    noted: frozenset[bytes],
    passes: Callable[[bytes], bool] | None,
) -> None:
    """Everything that the field lines decide."""
    lines = block.split(b"\r\n") if block else []
    if len(lines) > header_count:
        raise MessageError("headers_too_large", f"more than {header_count} header fields")
    try:
        names = list(map(name_of, lines))
    except ValueError:
        raise diagnosed(line + b"\r\n" + block) from None
    request.fields = fields = Fields(names, lines, Shape(names, noted, passes))
    request.host = _host_of(fields, request.version)
    request.framing = 0
    request.expects_continue = False
    request.keep_alive = request.version == 11
    request.hop_by_hop = _NO_NAMES
    request.noted = present = noted.intersection(names)
    if not present.isdisjoint(REQUEST_RULES):
        _apply_request_rules(request)


def _apply_request_rules(request: RequestHead) -> None:
    fields, present = request.fields, request.noted
    if b"connection" in present:
        options, request.hop_by_hop = _connection_of(fields)
        request.keep_alive = b"close" not in options and (request.version == 11 or b"keep-alive" in options)
        for name in request.hop_by_hop:
            if name in END_TO_END or name.startswith(END_TO_END_PREFIXES):
                shown = name.decode("latin-1")
                raise MessageError("malformed_request", f"Connection names the end-to-end field {shown}")
    if b"transfer-encoding" in present or b"content-length" in present:
        request.framing = _request_framing(fields, request.version)
    if b"expect" in present and request.version == 11:
        if fields.tokens(b"expect") != [b"100-continue"]:
            raise MessageError("malformed_request", "Expect: only 100-continue is understood")
        request.expects_continue = request.framing != 0


def _connection_of(fields: Fields) -> tuple[Collection[bytes], frozenset[bytes]]:
    """The options of `Connection`, and those of them that name further fields to be dropped here."""
    value = fields.get(b"connection")
    if value in _USUAL_CONNECTION:
        return _USUAL_CONNECTION[value], _NO_NAMES
    options = frozenset(fields.tokens(b"connection"))
    return options, options - _CONNECTION_OPTIONS


def _request_framing(fields: Fields, version: int) -> int:
    """How the body is delimited (RFC 9112, section 6.3); what two parsers could read differently is refused."""
    codings = fields.all(b"transfer-encoding")
    if not codings:
        return content_length(fields, "malformed_request")
    if b"content-length" in fields.names:
        raise MessageError("malformed_request", "both Transfer-Encoding and Content-Length")
    if version == 10:
        raise MessageError("malformed_request", "Transfer-Encoding in an HTTP/1.0 request")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise MessageError("malformed_request", "Transfer-Encoding other than exactly chunked")
    return CHUNKED


def content_length(fields: Fields, reason: str) -> int:
    """The body's length from the only Content-Length; raises MessageError with `reason`."""
    if fields.names.count(b"content-length") > 1:
        raise MessageError(reason, "more than one Content-Length")
    length = fields.get(b"content-length") or b""
    if not length.isdigit() or len(length) > LENGTH_DIGITS:
        raise MessageError(reason, f"Content-Length is not a decimal number of at most {LENGTH_DIGITS} digits")
    return int(length)


def _host_of(fields: Fields, version: int) -> bytes:
    """The only Host, if it is valid: RFC 9112, section 3.2."""
    names = fields.names
    count = names.count(b"host")
    if count == 1:
        host = fields.lines[names.index(b"host")][5:].strip()
        if host not in _known_hosts:
            if not _is_host(host):
                raise MessageError("malformed_request", "Host is not a valid host name with an optional port")
            if len(_known_hosts) < _KNOWN_HOSTS and len(host) <= _REMEMBERED_SIZE:
                _known_hosts.add(host)
        return host
    if count:
        raise MessageError("malformed_request", "more than one Host")
    if version == 11:
        raise MessageError("malformed_request", "an HTTP/1.1 request without Host")
    return b""


def _is_host(host: bytes) -> bool:
    """Whether this is a host with an optional port."""
    match = _HOST.fullmatch(host)
    if match is None or match[1] is None:
        return match is not None
    try:
        IPv6Address(match[1].decode())
    except ValueError:
        return False
    return True


def _origin_form(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Path and query of an absolute-form target, and its authority, which must equal Host.

    RFC 9112, sections 3.2.2 to 3.2.4.
    """
    if target == b"*" and method == b"OPTIONS":
        return target, host
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not _is_host(match[1]):
        raise MessageError("malformed_request", "the request target is neither a path nor an absolute http URL")
    if host and match[1].lower() != host.lower():
        raise MessageError("malformed_request", "the request target's authority differs from Host")
    path: bytes = match[2] or (b"*" if method == b"OPTIONS" else b"/")
    return b"/" + path if path.startswith(b"?") else path, host or match[1]


def status_line(status: int, phrase: bytes) -> bytes:
    """A status line in HTTP/1.1; without a `phrase` it has the usual one."""
    usual = STATUS_LINES.get(status)
    if usual is None or (phrase and usual[STATUS_PHRASE:] != phrase):
        return b"HTTP/1.1 %d %b" % (status, phrase)
    return usual


def parse_response_head(head: bytes, header_count: int, noted: frozenset[bytes], bodiless: bool) -> ResponseHead:
    """A response head from its bytes, cut as a request's; `bodiless` says that it answers HEAD.

    `noted` are the names that `ResponseHead.noted` may contain; they include `RESPONSE_RULES`. Raises MessageError
    with the reason `upstream_malformed`.
    """
    lines = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(lines.pop(0))
    if match is None:
        raise MessageError("upstream_malformed", "the response does not begin with a valid status line")
    if len(lines) > header_count:
        detail = f"the response has more than {header_count} header fields"
        raise MessageError("upstream_malformed", detail, "http_response_header_section_size")
    try:
        names = list(map(name_of, lines))
    except ValueError:
        raise MessageError("upstream_malformed", "the response has a line that is no header field") from None
    minor, status, phrase = match.groups()
    response = ResponseHead()
    response.raw = head + b"\r\n\r\n"
    response.status = int(status)
    response.phrase = phrase or b""
    response.line = status_line(response.status, response.phrase)
    response.fields = fields = Fields(names, lines)
    response.passed = b""
    response.keep_alive = minor == b"1"
    response.keep_alive_timeout = None
    response.hop_by_hop = _NO_NAMES
    response.noted = present = noted.intersection(names)
    if b"connection" in present:
        options, named = _connection_of(fields)
        response.hop_by_hop = named - END_TO_END if named else named
        response.keep_alive = b"close" not in options and (minor == b"1" or b"keep-alive" in options)
    if b"keep-alive" in present and (timeouts := _KEEP_ALIVE_TIMEOUT.findall(fields.get(b"keep-alive") or b"")):
        response.keep_alive_timeout = min(map(float, timeouts))  # the smallest of several is the safe one
    if b"transfer-encoding" in present:
        response.framing = _chunked_response(fields, old=minor == b"0")
    elif b"content-length" in present:
        response.framing = content_length(fields, "upstream_malformed")
    else:
        response.framing = UNTIL_CLOSE
    if bodiless or response.status < 200 or response.status in WITHOUT_BODY:
        response.framing = 0
    return response


def _chunked_response(fields: Fields, old: bool) -> int:
    codings = fields.all(b"transfer-encoding")
    if b"content-length" in fields.names or old or len(codings) > 1 or codings[0].lower() != b"chunked":
        detail = "the response's Transfer-Encoding leaves its length in doubt"
        raise MessageError("upstream_malformed", detail, "http_response_transfer_coding")
    return CHUNKED


def are_field_lines(block: bytes) -> bool:
    """Whether `block` consists of valid field lines, each with its CRLF: what a trailer section may hold."""
    return _FIELD_LINES.fullmatch(block) is not None


def is_hopeless(data: bytes, start: int) -> bool:
    """Whether the beginning of a head has, from `start` on, what no head may have: waiting for more is pointless."""
    return _HOPELESS.search(data, start) is not None


def without_empty_lines(data: bytes) -> bytes:
    """`data` from its first line that is not empty."""
    match = _EMPTY_LINES.match(data)
    return data[match.end() :] if match else data
