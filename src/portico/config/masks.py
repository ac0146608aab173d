"""Secrets in the text of a configuration: hidden where it is shown, put back where it is sent back.

A secret is what the settings have as one (`SecretStr`), the hash of an API key, all that stands under `with` of a
user's policy, and a field or parameter whose name says so. `${NAME}` and `${file:PATH}` are no secrets: they stay as
they are written.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import Secret, SecretStr

from portico.config.document import Document, Node, parse_document
from portico.config.levels import Policies
from portico.config.model import Config
from portico.config.problems import ConfigError, Finding, KeyPath
from portico.config.section import is_word
from portico.config.shapes import alternatives, fields_of, is_section, step
from portico.config.substitution import is_text_as_written
from portico.observe.log_fields import is_secret_field
from portico.policies import POLICY_SETTINGS
from portico.policies.error_pages import Content, FileName

MASK: Final = "********"
"""What is shown in place of a secret."""

_REFERENCES: Final = re.compile(
    r"(?:[$]\{[A-Za-z_][A-Za-z0-9_]*(?::-)?\}|[$]\{file:[^{}]*\}|\{env\.[A-Za-z_][A-Za-z0-9_]*\})+"
)
_NAMED: Final = re.compile(r"(\$\{[A-Za-z_][A-Za-z0-9_]*:-)[^{}]+(\})")
_PROPERTIES: Final = re.compile(r"(?:[&!]\S*\s+)*")
_LOOKS_UP: Final = re.compile(r"\$\{|\{env\.")
_COMMENT: Final = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
_NAMING: Final = frozenset(("headers", "transform"))
"""Policies whose keys are names of fields and parameters."""
_LEAST: Final = 6
"""Characters of a secret that is looked for in comments: a shorter one may be any word."""
NAMES: Final = ("name", "issuer", "url", "use", "path")
"""Keys that say which element of a list is meant, the first that there is."""


def hidden(text: str) -> str:
    """What is shown of a secret that is written like that."""
    if not text or _REFERENCES.fullmatch(text):
        return text
    if _NAMED.fullmatch(text):
        return _NAMED.sub(rf"\g<1>{MASK}\g<2>", text)
    return MASK


def secrets(document: Document) -> Iterator[tuple[KeyPath, Node]]:
    """Every secret that is written, with its path."""
    return _secrets(document.root, (), (Config,))


def _secrets(node: Node, path: KeyPath, kinds: tuple[Any, ...]) -> Iterator[tuple[KeyPath, Node]]:
    if isinstance(node.content, str):
        if is_secret(path, kinds):
            yield path, node
    elif any(map(_may_hide, kinds)) or not _NAMING.isdisjoint(path) or _are_keys(path):
        parts: Iterable[tuple[str | int, Node]]
        if isinstance(node.content, dict):
            parts = ((key, entry.value) for key, entry in node.content.items())
        else:
            parts = enumerate(node.content)
        for part, inner in parts:
            yield from _secrets(inner, (*path, part), inside(kinds, part))


def is_secret(path: KeyPath, kinds: tuple[Any, ...]) -> bool:
    """Whether a value of one of these types at that path is a secret."""
    if any(SecretStr in alternatives(kind) or kind is Secret for kind in kinds):
        return True
    if _are_keys(path):
        return True
    names = [part for part in path if isinstance(part, str)]
    return bool(names) and is_text_as_written(path) and is_secret_field(names[-1])


def _are_keys(path: KeyPath) -> bool:
    """Whether hashes of API keys are there: who has them may try keys at leisure."""
    return path[:1] == ("consumers",) and path[2:3] == ("keys",)


def inside(kinds: tuple[Any, ...], part: str | int) -> tuple[Any, ...]:
    """The types of what is at a key or index; Secret for all that is in one."""
    found: list[Any] = []
    for kind in kinds:
        for each in alternatives(kind):
            if each is Secret or get_origin(each) is Secret:
                found.append(Secret)
            elif is_section(each) and issubclass(each, Policies) and part in POLICY_SETTINGS:
                found.append(POLICY_SETTINGS[str(part)])
        found += step(kind, part)
    return tuple(found)


@cache
def _may_hide(annotation: Any) -> bool:
    """Whether a value of this type may hold a secret."""
    for kind in alternatives(annotation):
        if kind in (Secret, SecretStr, Policies) or get_origin(kind) is Secret:
            return True
        inner = [field.annotation for field in fields_of(kind).values()] if is_section(kind) else get_args(kind)
        if any(map(_may_hide, inner)):
            return True
    return False


def masked_text(text: str, document: Document) -> str:
    """The text of a file without its secrets; `document` is what was read from that text alone."""
    spans: dict[int, tuple[int, str]] = {}
    values: set[str] = set()
    for _, node in secrets(document):
        assert isinstance(node.content, str)
        shown = hidden(node.content)
        if shown != node.content:
            spans[node.start] = node.end, _quoted(shown)
            values.add(node.content)
    masked = _replaced(text, spans)
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _LEAST:
            masked = _COMMENT.sub(lambda found, value=value: found[0].replace(value, MASK), masked)  # type: ignore[misc]
    return masked


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _replaced(text: str, spans: Mapping[int, tuple[int, str]]) -> str:
    """The text with other values in place of some; their anchors and the ends of their last lines stay."""
    parts: list[str] = []
    done = 0
    for start, (end, value) in sorted(spans.items()):
        written = text[start:end]
        begin = start + len(_match(written))
        rest = written[len(written.rstrip()) :] if written.endswith(("\n", "\r")) else ""
        parts += [text[done:begin], value, rest]
        done = end
    return "".join([*parts, text[done:]])


def _match(written: str) -> str:
    found = _PROPERTIES.match(written)
    return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is in force: its document, and for values that are from variables which stand for keys, those by path."""

    document: Document
    variables: Mapping[KeyPath, str]


def unmasked(text: str, filename: str, known: Known, *, is_careful: bool = False) -> str:
    """The text with the secrets in force in place of masks; `filename` is for messages.

    Raises ConfigError where a mask stands where there is none; and, if it `is_careful`, PermissionError where it names
    a variable, a file or a users' policy that the document in force does not name there: whether they are there, what
    these hold, or do, is nothing for everybody.
    """
    if MASK not in text and not is_careful:
        return text
    document = parse_document(text, filename)
    put_back = _Unmasking(known)
    put_back.compare(document.root, known.document.root, (), (Config,) if is_careful else ())
    if is_careful and put_back.foreign:
        named = document.problem(put_back.foreign[0])
        raise PermissionError(f"{named}: only a token that may write can try that")
    if put_back.findings:
        raise ConfigError([document.problem(finding) for finding in put_back.findings])
    return _replaced(text, put_back.spans)


class _Unmasking:
    def __init__(self, known: Known) -> None:
        self.variables = known.variables
        self.secret = {id(node) for _, node in secrets(known.document)}
        self.spans: dict[int, tuple[int, str]] = {}
        self.findings: list[Finding] = []
        self.foreign: list[Finding] = []

    def compare(self, new: Node, old: Node | None, path: KeyPath, kinds: tuple[Any, ...]) -> None:
        content, before = new.content, old.content if old is not None else None
        if isinstance(content, str):
            if MASK in content:
                self._put_back(new, old, path)
            elif content not in (before, f"${{{self.variables.get(path)}}}") and (
                _LOOKS_UP.search(content.replace("$$", "")) or _is_code(path) or _is_file(content, kinds)
            ):
                self.foreign.append(Finding(path, "is looked up, or run, where the gateway is"))
        elif isinstance(content, dict):
            known = before if isinstance(before, dict) else {}
            for key, entry in content.items():
                if MASK in key:
                    self.findings.append(Finding((*path, key), "a key is no secret: write its name", at_key=True))
                was = known[key].value if key in known else None
                self.compare(entry.value, was, (*path, key), inside(kinds, key))
        else:
            others = before if isinstance(before, list) else []
            names = [_name(each, is_mask=MASK in each.content) for each in content]
            pairs = paired(names, [_name(each, is_mask=self._is_hidden(each)) for each in others])
            for index, (each, place) in enumerate(zip(content, pairs, strict=True)):
                was = others[place] if place is not None else None
                self.compare(each, was, (*path, index), inside(kinds, index))

    def _is_hidden(self, old: Node) -> bool:
        return id(old) in self.secret and hidden(str(old.content)) != old.content

    def _put_back(self, new: Node, old: Node | None, path: KeyPath) -> None:
        variable = self.variables.get(path)
        if old is not None and isinstance(old.content, str) and new.content == self._shown(old):
            self._replace(new, old.content, is_plain=old.plain)
        elif variable is not None and new.content == MASK:
            self._replace(new, f"${{{variable}}}", is_plain=True)
        else:
            what = "write the secret itself, or ${NAME}, in place of the mask"
            self.findings.append(Finding(path, f"no secret is in force here that {MASK} could stand for: {what}"))

    def _shown(self, old: Node) -> str:
        text = str(old.content)
        return hidden(text) if id(old) in self.secret else text

    def _replace(self, new: Node, text: str, *, is_plain: bool) -> None:
        is_simple = is_plain and re.fullmatch(r"[A-Za-z0-9_.+/=$-]+|\$\{[A-Za-z_][A-Za-z0-9_]*\}", text)
        self.spans[new.start] = new.end, text if is_simple else _quoted(text)


def _is_code(path: KeyPath) -> bool:
    """Whether a users' policy is named there, or a file that is included."""
    return path[:1] == ("include",) or (path[-1:] == ("use",) and "plugins" in path)


def _is_file(content: str, kinds: tuple[Any, ...]) -> bool:
    """Whether a value of one of these types is the path of a file."""
    found = {each for kind in kinds for each in alternatives(kind)}
    if bool in found and (is_word(content, True) or is_word(content, False)):
        return False
    return bool(content) and not found.isdisjoint((Path, Content, FileName))


def paired(new: Sequence[str], old: Sequence[str]) -> list[int | None]:
    """For each element of a list the index that it had before, if that can be told from what elements are called.

    Those of one name go by their order where there are as many as before.
    """
    counts, before = Counter(new), Counter(old)
    left: dict[str, list[int]] = {}
    for index, name in enumerate(old):
        left.setdefault(name, []).append(index)
    return [left[name].pop(0) if counts[name] == before[name] else None for name in new]


def _name(node: Node, *, is_mask: bool) -> str:
    """What an element of a list is called: its name, URL, or whatever tells it apart from others."""
    if isinstance(node.content, dict):
        found = ((key, node.content[key].value.content) for key in NAMES if key in node.content)
        return next((f"{key} {content}" for key, content in found if isinstance(content, str)), "keys")
    return "mask" if is_mask else "other"
