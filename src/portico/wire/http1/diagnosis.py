"""Why the grammar refuses the head of a request: which rule it broke, for the response to the client."""

from __future__ import annotations

import re
from typing import Final

from portico.core.errors import MessageError

_WRONG: Final = (
    (re.compile(rb"(?<!\r)\n"), "a line ends in LF without CR"),
    (re.compile(rb"\r(?!\n)"), "a CR without LF"),
    (re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"), "a control byte"),
    (re.compile(rb"\n[ \t]"), "a field line that continues on the next line (obs-fold)"),
    (re.compile(rb"\n[^:\r\n]*[ \t]:"), "white space between a field name and its colon"),
    (re.compile(rb"\n(?:[^:\r\n]+\r|:)"), "a field line without a name and a colon"),
    (re.compile(rb"\n[^:\r\n]*[^!#$%&'*+\-.^_`|~0-9A-Za-z:\r\n][^:\r\n]*:"), "a field name with a forbidden character"),
)
_ANY_REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++ ([^ \r\n]++) HTTP/([0-9])\.([0-9])\r\n")


def diagnosed(head: bytes) -> MessageError:
    """The error for a request's head that the grammar refuses: which rule it broke."""
    head += b"\r\n"
    line = _ANY_REQUEST_LINE.match(head)
    if line and (line[2], line[3]) not in ((b"1", b"0"), (b"1", b"1")):
        return MessageError("version_not_supported", "only HTTP/1.0 and HTTP/1.1 are spoken here")
    for pattern, detail in _WRONG:
        if pattern.search(head):
            return MessageError("malformed_request", detail)
    if line:
        return MessageError("malformed_request", "the request target has a character that must be percent-encoded")
    return MessageError("malformed_request", "the request line is not METHOD TARGET HTTP/1.1")
