"""The texts that a configuration was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from portico.config.document import Document, parse_document
from portico.config.include import add_texts


@dataclass(frozen=True, slots=True)
class Source:
    """The text of the file, its name for messages, and the texts of the files that it includes, by their paths."""

    filename: str
    text: str = field(repr=False)
    included: Mapping[str, str] = field(default_factory=dict, repr=False)

    def document(self) -> Document:
        """All of them as one document, as it was when the configuration was read; it was right then."""
        document = parse_document(self.text, self.filename)
        add_texts(document, self.included, [])
        return document
