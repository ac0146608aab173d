"""Text for terminals and logs that are read as text: what comes from elsewhere may not steer or forge them."""

from __future__ import annotations


def printable(text: str, allowed: str = "") -> str:
    """`text` with characters that are not printable escaped (`\\x1b`), except those that are `allowed`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in allowed else character.encode("unicode_escape").decode()
        for character in text
    )


def sendable(text: str) -> str:
    """The same where it is text that can be encoded; half a character, as JSON of others may have it, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
