"""The files of error pages: read where the configuration is, so that every process has the same texts of them."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from portico.config.model import Config
from portico.config.problems import Finding, KeyPath, nearest
from portico.policies.error_templates import NAMES, json_object, words_in

MOST: Final = 64 * 1024
"""Bytes of a page: it is sent when much is going wrong."""
_FORMS: Final = ("html", "text", "json")


def read_pages(config: Config) -> tuple[dict[str, str], list[Finding]]:
    """The texts of all files that are named, by how they are named, and what is wrong with any page."""
    texts: dict[str, str] = {}
    findings: list[Finding] = []
    for path, section in _sections(config):
        for form in _FORMS:
            if form in section:
                try:
                    findings += _check((*path, form), form, section[form], config.directory, texts)
                except _UnreadableError as error:
                    findings.append(Finding((*path, form), str(error), error.suggestion))
    return texts, findings


def _sections(config: Config) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Every section that holds forms, with where it is written."""
    for path, policies in config.levels():
        said = policies.said.get("errors")
        for status, section in said.items() if isinstance(said, dict) else ():
            if isinstance(section, dict):
                yield (*path, "errors", status), section
    for path, part in config.treated():
        if part.maintenance is not None:
            yield (*path, "maintenance"), part.maintenance.model_dump(by_alias=True, exclude_none=True)


class _UnreadableError(Exception):
    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


def _check(path: KeyPath, form: str, value: Any, directory: Path, texts: dict[str, str]) -> Iterator[Finding]:
    """What is wrong with one form. Raises _UnreadableError."""
    is_inline = isinstance(value, dict) if form == "json" else isinstance(value, dict) and "body" in value
    is_inline = is_inline or (form == "json" and value.lstrip().startswith("{"))
    if is_inline:
        text = value if form == "json" else value["body"]
    else:
        name = value["file"] if isinstance(value, dict) else value
        if name not in texts:
            texts[name] = _read(directory, name)
        text = texts[name]
        if form == "json":
            try:
                json_object(text)
            except ValueError as error:
                raise _UnreadableError(f"{directory / name}: {error}") from None
    for word in dict.fromkeys(words_in(text)):
        meant = nearest(word, NAMES)
        if meant is not None or (form == "json" and is_inline):
            known = ", ".join(f"{{{each}}}" for each in NAMES)
            yield Finding(path, f"{{{word}}} is none of {known}", f"{{{meant}}}" if meant else None)


def _read(directory: Path, name: str) -> str:
    file = directory / name
    try:
        mode = file.stat().st_mode
        if not stat.S_ISREG(mode):
            raise _UnreadableError(f"{file} is not a file")
        with file.open("rb") as opened:
            data = opened.read(MOST + 1)
    except FileNotFoundError:
        raise _UnreadableError(f"there is no file {file}", similar_file(file, name)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _UnreadableError(f"{file} cannot be read: {reason}") from None
    if len(data) > MOST:
        raise _UnreadableError(f"{file} has more than {MOST >> 10} KiB: a page that says what is wrong has to be small")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnreadableError(
            f"{file} is not UTF-8 text: the byte {data[error.start]:#04x} does not belong there"
        ) from None


def similar_file(file: Path, name: str) -> str | None:
    """A file beside the one of this name that was probably meant, as it would be written."""
    try:
        found = nearest(file.name, [each.name for each in file.parent.iterdir()])
    except OSError:
        return None
    return found and str(Path(name).with_name(found))
