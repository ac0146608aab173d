"""Heads of HTTP/1.1 messages: one regular expression says what is accepted, and what it does not match is refused.

The expressions are the grammar of RFC 9112 (request-line, status-line) and RFC 9110, section 5 (field lines), with every
leniency left out: no obs-fold, no bare CR or LF, no white space before a colon, no control bytes. Possessive quantifiers
keep the match linear. One match, one split and one findall cost about what httptools costs with its callbacks, and
what passes is exactly what Portico would write itself.
"""

from __future__ import annotations

import re
from typing import Final

from portico.errors import MessageError
from portico.messages import CHUNKED, UNTIL_CLOSE, Fields, RequestHead, ResponseHead

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_FIELD = rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+"
_REQUEST: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]++) HTTP/1\.([01])\r\n(" + _FIELD + rb")")
_RESPONSE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n(" + _FIELD + rb")"
)
_FIELD_LINES: Final = re.compile(_FIELD)
_NAMES: Final = re.compile(rb"\n([^:\r]++):")
_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]++|(?:%[0-9A-Fa-f]{2}))++(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?"
)
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@]*+)([/?].*+)?", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"timeout=([0-9]{1,6})")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")

_REQUEST_RULES: Final = frozenset({b"connection", b"content-length", b"expect", b"transfer-encoding"})
_RESPONSE_RULES: Final = frozenset({b"connection", b"content-length", b"keep-alive", b"transfer-encoding"})
_NO_NAMES: Final[frozenset[bytes]] = frozenset()
_CONNECTION_OPTIONS: Final = frozenset(
    {b"close", b"keep-alive", b"upgrade", b"te", b"trailer", b"transfer-encoding", b"proxy-connection"}
)
END_TO_END: Final = frozenset(
    {
        *(
            b"host",
            b"authorization",
            b"cookie",
            b"content-length",
            b"content-type",
            b"content-encoding",
            b"cache-control",
        ),
        *(b"forwarded", b"via", b"origin", b"expect", b"range", b"date", b"set-cookie", b"location", b"etag", b"vary"),
        *(b"traceparent", b"tracestate", b"x-request-id", b"x-real-ip"),
    }
)
"""Fields that `Connection` may not name: dropping them would change what the request means."""
_END_TO_END_PREFIXES: Final = (b"x-forwarded-", b"x-consumer-", b"x-forwarded_", b"access-control-")

_METHODS_REFUSED: Final = {b"CONNECT": "not_implemented", b"TRACE": "not_implemented"}


def parse_request_head(head: bytes, header_count: int, url_length: int) -> RequestHead:
    """A request head from its bytes, the blank line left out: `b"GET / HTTP/1.1\\r\\nHost: a\\r\\n"`.

    Raises MessageError where the head breaks RFC 9112 or a limit (`header_count` fields, `url_length` bytes of target).
    """
    match = _REQUEST.fullmatch(head)
    if match is None:
        raise _diagnosed(head)
    method, target, minor, block = match.groups()
    if len(target) > url_length:
        raise MessageError("url_too_long", f"the request target is longer than {url_length} bytes")
    if method in _METHODS_REFUSED:
        raise MessageError(_METHODS_REFUSED[method], f"{method.decode()} is not offered by this gateway")
    names = _NAMES.findall(head.lower())
    if len(names) > header_count:
        raise MessageError("headers_too_large", f"more than {header_count} header fields")
    request = RequestHead()
    request.method = method
    request.fields = fields = Fields(names, block[:-2].split(b"\r\n") if names else [])
    request.version = 11 if minor == b"1" else 10
    request.host = _host_of(fields, request.version)
    request.target = target if target[0] == 47 else _origin_form(method, target, request.host)
    request.framing = 0
    request.expects_continue = False
    request.keep_alive = request.version == 11
    request.hop_by_hop = _NO_NAMES
    if not _REQUEST_RULES.isdisjoint(names):
        _apply_request_rules(request)
    return request


def _apply_request_rules(request: RequestHead) -> None:
    fields = request.fields
    if b"connection" in fields.names:
        options, request.hop_by_hop = _connection_of(fields)
        request.keep_alive = b"close" not in options and (request.version == 11 or b"keep-alive" in options)
    request.framing = _request_framing(fields, request.version)
    expectation = fields.get(b"expect")
    if expectation is not None and request.version == 11:
        if expectation.lower() != b"100-continue":
            raise MessageError("malformed_request", "Expect: only 100-continue is understood")
        request.expects_continue = request.framing != 0


def _request_framing(fields: Fields, version: int) -> int:
    """How the body is delimited: RFC 9112, section 6.3, where anything that two parsers could read two ways is refused."""
    codings, lengths = fields.all(b"transfer-encoding"), fields.all(b"content-length")
    if codings:
        if lengths:
            raise MessageError("malformed_request", "both Transfer-Encoding and Content-Length")
        if version == 10:
            raise MessageError("malformed_request", "Transfer-Encoding in an HTTP/1.0 request")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise MessageError("malformed_request", "Transfer-Encoding other than exactly chunked")
        return CHUNKED
    return _content_length(lengths, "malformed_request")


def _content_length(lengths: list[bytes], reason: str) -> int:
    if not lengths:
        return 0
    if len(lengths) > 1:
        raise MessageError(reason, "more than one Content-Length")
    if not _LENGTH.fullmatch(lengths[0]):
        raise MessageError(reason, "Content-Length is not a decimal number of at most 18 digits")
    return int(lengths[0])


def _host_of(fields: Fields, version: int) -> bytes:
    """The one valid Host: RFC 9112, section 3.2."""
    hosts = fields.all(b"host") if fields.names.count(b"host") != 1 else [fields.get(b"host") or b""]
    if len(hosts) > 1:
        raise MessageError("malformed_request", "more than one Host")
    if not hosts:
        if version == 11:
            raise MessageError("malformed_request", "an HTTP/1.1 request without Host")
        return b""
    if not _HOST.fullmatch(hosts[0]):
        raise MessageError("malformed_request", "Host is not a valid host name with an optional port")
    return hosts[0]


def _origin_form(method: bytes, target: bytes, host: bytes) -> bytes:
    """The path and query of an absolute-form target (RFC 9112, section 3.2.2), whose authority must be what Host says."""
    if target == b"*" and method == b"OPTIONS":
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise MessageError("malformed_request", "the request target is neither a path nor an absolute http URL")
    if match[1].lower() != host.lower():
        raise MessageError("malformed_request", "the request target's authority differs from Host")
    path: bytes = match[2] or b"/"
    return path if path[0] == 47 else b"/" + path


def _connection_of(fields: Fields) -> tuple[set[bytes], frozenset[bytes]]:
    """The options of `Connection`, and those among them that name fields to be dropped here."""
    options = set(fields.tokens(b"connection"))
    named = frozenset(options - _CONNECTION_OPTIONS)
    for name in named:
        if name in END_TO_END or name.startswith(_END_TO_END_PREFIXES):
            raise MessageError("malformed_request", f"Connection names the end-to-end field {name.decode('latin-1')}")
    return options, named


def parse_response_head(head: bytes, method: bytes, header_count: int) -> ResponseHead:
    """A response head from its bytes, the blank line left out; `method` is the request's, which decides about a body.

    Raises MessageError with the reason `upstream_malformed`.
    """
    match = _RESPONSE.fullmatch(head)
    if match is None:
        raise MessageError("upstream_malformed", "the response head breaks RFC 9112")
    minor, status, phrase, block = match.groups()
    names = _NAMES.findall(head.lower())
    if len(names) > header_count:
        raise MessageError("upstream_malformed", f"the response has more than {header_count} header fields")
    response = ResponseHead()
    response.status = int(status)
    response.phrase = phrase or b""
    response.fields = fields = Fields(names, block[:-2].split(b"\r\n") if names else [])
    response.keep_alive = minor == b"1"
    response.keep_alive_timeout = None
    response.hop_by_hop = _NO_NAMES
    if _RESPONSE_RULES.isdisjoint(names):
        response.framing = UNTIL_CLOSE
    else:
        _apply_response_rules(response, minor == b"0")
    if method == b"HEAD" or response.status < 200 or response.status in (204, 304):
        response.framing = 0
    return response


def _apply_response_rules(response: ResponseHead, old: bool) -> None:
    fields = response.fields
    if b"connection" in fields.names:
        options = set(fields.tokens(b"connection"))
        response.hop_by_hop = frozenset(options - _CONNECTION_OPTIONS - END_TO_END)
        response.keep_alive = b"close" not in options and (not old or b"keep-alive" in options)
    advice = fields.get(b"keep-alive")
    if advice is not None and (timeout := _KEEP_ALIVE_TIMEOUT.search(advice.lower())):
        response.keep_alive_timeout = float(timeout[1])
    response.framing = _response_framing(fields, old)


def _response_framing(fields: Fields, old: bool) -> int:
    codings, lengths = fields.all(b"transfer-encoding"), fields.all(b"content-length")
    if codings:
        if lengths or old or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise MessageError("upstream_malformed", "the response's Transfer-Encoding leaves its length in doubt")
        return CHUNKED
    return _content_length(lengths, "upstream_malformed") if lengths else UNTIL_CLOSE


def are_field_lines(block: bytes) -> bool:
    """Whether `block` consists of valid field lines, each with its CRLF: what a trailer section may hold."""
    return _FIELD_LINES.fullmatch(block) is not None


def has_bare_line_feed(data: bytes) -> bool:
    """Whether a line ends in LF without CR, so that a head that will never be accepted is refused without waiting."""
    return _BARE_LF.search(data) is not None


_WRONG: Final = (
    (re.compile(rb"(?<!\r)\n"), "a line ends in LF without CR"),
    (re.compile(rb"\r(?!\n)"), "a CR without LF"),
    (re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"), "a control byte"),
    (re.compile(rb"\n[ \t]"), "a field line that continues on the next line (obs-fold)"),
    (re.compile(rb"\n[^:\r\n]*[ \t]:"), "white space between a field name and its colon"),
    (re.compile(rb"\n(?:[^:\r\n]+\r|:)"), "a field line without a name and a colon"),
    (re.compile(rb"\n[^:\r\n]*[^!#$%&'*+\-.^_`|~0-9A-Za-z:\r\n][^:\r\n]*:"), "a field name with a forbidden character"),
)
_REQUEST_LINE: Final = re.compile(_TOKEN + rb" ([^ \r\n]++) HTTP/([0-9])\.([0-9])\r\n")


def _diagnosed(head: bytes) -> MessageError:
    """The error for a head that the grammar refused: which rule it broke."""
    line = _REQUEST_LINE.match(head)
    if line and (line[2], line[3]) not in ((b"1", b"0"), (b"1", b"1")):
        return MessageError("version_not_supported", "only HTTP/1.0 and HTTP/1.1 are spoken here")
    for pattern, detail in _WRONG:
        if pattern.search(head):
            return MessageError("malformed_request", detail)
    if line:
        return MessageError("malformed_request", "the request target has a character that must be percent-encoded")
    return MessageError("malformed_request", "the request line is not METHOD TARGET HTTP/1.1")
