"""The files that hold OpenAPI documents: read and judged with the configuration, so that all know the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from portico.config.model import Config
from portico.config.pages import similar_file
from portico.config.problems import Finding, KeyPath
from portico.config.reading import read_small
from portico.config.routes import RouteSettings
from portico.openapi import read_document
from portico.openapi.text import MOST_BYTES


def read_documents(config: Config) -> tuple[dict[Path, bytes], list[Finding]]:
    """The documents in the files that are named, as JSON, by how they are named, and what is wrong with the others."""
    documents: dict[Path, bytes] = {}
    findings = []
    for path, file in _files(config):
        if file in documents:
            continue
        place = config.directory / file
        try:
            documents[file] = msgspec.json.encode(read_document(read_small(place, MOST_BYTES)).content)
        except FileNotFoundError:
            findings.append(Finding(path, f"there is no file {place}", similar_file(place, str(file))))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            findings.append(Finding(path, f"{place}: {reason}"))
    return documents, findings


def _files(config: Config) -> Iterator[tuple[KeyPath, Path]]:
    for path, part in config.treated():
        settings = None if isinstance(part, RouteSettings) else part.openapi
        if settings is not None and settings.file is not None:
            yield (*path, "openapi", "file"), settings.file
