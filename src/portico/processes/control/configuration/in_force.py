"""The configuration in force as it is shown, and what it is known by."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from portico.config import Config
from portico.config.defaults import with_defaults
from portico.config.document import parse_document
from portico.config.masks import Known, masked_text
from portico.config.passing import with_origin
from portico.config.shown import known_of, shown_document
from portico.core.slices import collecting_later
from portico.processes.control.configuration.history import History


@dataclass(frozen=True)
class InForce:
    """One configuration. What is made of it is made once, and takes its time: read it in a thread."""

    config: Config
    history: History

    @cached_property
    def known(self) -> Known:
        """Its document, with the secrets."""
        return known_of(self.config, os.environ)

    @cached_property
    def located(self) -> Config:
        """The configuration, so that it knows where its parts are written."""
        return with_origin(self.config, self.known.document) if self.config.source is not None else self.config

    @cached_property
    def shown(self) -> dict[str, Any]:
        """Its document as keys and values, without secrets."""
        return with_defaults(shown_document(self.config, self.known), self.config)

    @cached_property
    def masked(self) -> str | None:
        """The text of its file, without secrets; None where there is none."""
        source = self.config.source
        return masked_text(source.text, parse_document(source.text, source.filename)) if source is not None else None

    @cached_property
    def tags(self) -> tuple[str, str]:
        """Those of the document and of the text, as `ETag` has them: each changes with either, and with a secret."""
        source = self.config.source
        texts = [source.text, *source.included, *source.included.values()] if source is not None else []
        parts = [*(text.encode(errors="surrogatepass") for text in texts), _tree(self.config)]
        return tuple(f'"{self.history.digest(form, *parts)}"' for form in (b"document", b"text"))  # type: ignore[return-value]

    @cached_property
    def files(self) -> dict[str, str]:
        """A digest of each other file that it is made of, by path."""
        config = self.config
        contents: dict[str, bytes] = {}
        if config.source is not None:
            contents |= {path: text.encode() for path, text in config.source.included.items()}
        contents |= dict(config.code)
        contents |= {str(config.directory / name): text.encode() for name, text in config.page_texts.items()}
        contents |= {str(config.directory / name): data for name, data in config.files.items()}
        contents |= {str(config.directory / name): data for name, data in config.documents.items()}
        return {path: self.history.digest(data) for path, data in sorted(contents.items())}

    def with_document(self) -> InForce:
        """This, with its document made."""
        with collecting_later():
            _ = self.shown, self.tags
        return self

    def with_text(self) -> InForce:
        """This, with its text made."""
        with collecting_later():
            _ = self.masked, self.tags
        return self


def _tree(config: Config) -> bytes:
    return msgspec.json.encode(config.written, enc_hook=str, order="sorted")
