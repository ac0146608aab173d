"""What a response of the gateway's own says of the failure behind it: `Proxy-Status` (RFC 9209)."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")


class ProxyStatus:
    """The field's lines. `name` is the gateway's: visible ASCII and spaces.

    With `names_next_hop` they name the instance that was chosen, which is an address of an inner network.
    """

    __slots__ = ("_lines", "_name", "_names_next_hop")

    def __init__(self, name: str, names_next_hop: bool = False) -> None:
        self._name = name if _TOKEN.fullmatch(name) else _string(name)
        self._names_next_hop = names_next_hop
        self._lines: dict[str, bytes] = {}

    def line(self, error: str, instance: str | None) -> bytes:
        """The line for a proxy error type, and the instance that was asked last, if any was."""
        line = self._lines.get(error)
        if line is None:
            line = self._lines[error] = f"Proxy-Status: {self._name}; error={error}".encode()
        if instance is None or not self._names_next_hop:
            return line
        return b"%b; next-hop=%b" % (line, _string(instance).encode("ascii", "backslashreplace"))


def _string(text: str) -> str:
    """A string of structured fields (RFC 9651, section 3.3.3)."""
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
