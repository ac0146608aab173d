"""What is wrong with a document."""

from __future__ import annotations


class DocumentError(ValueError):
    """A document that cannot be used; the message says what is wrong, and where."""
