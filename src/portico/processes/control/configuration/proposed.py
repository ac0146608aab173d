"""A document that somebody sends: read with the secrets in force in place of masks, compared with what there is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from portico.config import Config, ConfigError, Problem, ServiceSettings, load_text, warnings_for
from portico.config.document import Document, parse_document
from portico.config.masks import unmasked
from portico.config.source import Source
from portico.config.substitution import raw_data
from portico.config.written import written_document
from portico.core.slices import collecting_later
from portico.plan import Plan, plan
from portico.processes.control.configuration.errors import RefusedError, invalid
from portico.processes.control.configuration.in_force import InForce
from portico.processes.control.reloading import ReloadError

_PAIR: Final = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")
"""Two escapes that are one character (RFC 8259, section 7)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A document, as text. Where it `is_json` it has been made of the one that is shown, and is written as YAML.

    `has_masks`: masks in it stand for secrets. `is_careful`: it names no variable or file, and no users' policy, but
    where the one in force names the same.
    """

    text: str
    is_json: bool = False
    is_careful: bool = False
    has_masks: bool = True


@dataclass(frozen=True, slots=True)
class Proposed:
    """What it would be: the text of the file, the configuration, and what that changes."""

    text: str
    config: Config
    plan: Plan
    is_same: bool


def propose(sent: Sent, there: InForce, filename: str, checked: Callable[[Config], Config]) -> Proposed:
    """Read a document. `checked` says whether it can come into force. Raises RefusedError."""
    with collecting_later():
        return _proposed(sent, there, filename, checked)


def _proposed(sent: Sent, there: InForce, filename: str, checked: Callable[[Config], Config]) -> Proposed:
    try:
        data = read_json(sent.text, filename) if sent.is_json else {}
        read = _plain_json(sent.text) if sent.is_json else sent.text
        text = unmasked(read, filename, there.known, is_careful=sent.is_careful) if sent.has_masks else read
        if sent.is_json:
            config = checked(_loaded_json(data, text, there, filename))
        else:
            config = checked(load_text(text, filename, os.environ))
    except ConfigError as error:
        raise invalid(error.problems) from None
    except ReloadError as error:
        raise invalid(error.problems) from None
    except PermissionError as error:
        raise RefusedError(403, str(error)) from None
    _check_included(there.config, config)
    assert config.source is not None
    return Proposed(config.source.text, config, *compared(there, config))


def _loaded_json(data: dict[str, Any], unmasked_json: str, there: InForce, filename: str) -> Config:
    """What a document that was sent as JSON would be, as it would be written.

    Raises ConfigError, whose problems have the places of what was sent.
    """
    try:
        from portico.render.yaml_text import document as yaml_document  # here alone: it comes with all of `render`

        masked = yaml_document(written_document(data, there.shown, there.known), spaced=True)
        text = unmasked(masked, filename, there.known)
        return load_text(text, filename, os.environ)
    except ConfigError:
        load_text(unmasked_json, filename, os.environ)
        raise


def _plain_json(text: str) -> str:
    """The same JSON as YAML reads it, everything at the same place but for escaped characters beyond the first plane.

    Tabs are between values only: in JSON's strings they are escaped.
    """
    return _PAIR.sub(_character, text).replace("\t", " ")


def _character(pair: re.Match[str]) -> str:
    return pair[1] + str(json.loads(f'"{pair[2]}"'))


def compared(there: InForce, config: Config) -> tuple[Plan, bool]:
    """What a configuration changes, and whether it is the one in force in other words."""
    found = plan(there.located, config)
    own = there.config
    same_files = (own.code, own.page_texts, own.files, own.documents) == (
        *(config.code, config.page_texts, config.files, config.documents),
    )
    is_same = not found.changes and own.own_policies == config.own_policies and same_files
    return found, is_same and _unused(own) == _unused(config)


def _unused(config: Config) -> dict[str, ServiceSettings]:
    """Services that no route leads to: what is written for them changes nothing yet, and is kept all the same."""
    used = {route.service for route in config.all_routes}
    return {name: service for name, service in config.services.items() if name not in used}


def _check_included(old: Config, new: Config) -> None:
    """A change of the file takes over no change of others by the way."""
    known = old.source.included if old.source is not None else {}
    read = new.source.included if new.source is not None else {}
    changed = [path for path in known.keys() & read.keys() if known[path] != read[path]]
    others = known.keys() ^ read.keys()
    if others and _include(old.source) == _include(new.source):
        changed += others  # nothing in the document says that they come or go
    if changed:
        listed = ", ".join(sorted(changed))
        raise RefusedError(
            412, f"{listed} has been changed on disk since the configuration was read: reload first", {"files": changed}
        )


def _include(source: Source | None) -> object:
    """What a file says that it includes."""
    if source is None:
        return None
    node = parse_document(source.text, source.filename).at(("include",))
    return None if node is None else raw_data(Document("", node))


def read_json(text: str, filename: str) -> dict[str, Any]:
    """A JSON object. Raises ConfigError."""

    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"the key {json.dumps(key)} is written twice")
            found[key] = value
        return found

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no number of JSON")

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as error:
        problem = Problem(filename, error.lineno, error.colno, "", f"not valid JSON: {error.msg}")
        raise ConfigError([problem]) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ConfigError([Problem(filename, None, None, "", f"not valid JSON: {reason}")]) from None
    if not isinstance(value, dict):
        raise ConfigError([Problem(filename, 1, 1, "", "expected keys and values at the top, such as services:")])
    return value


def warned(config: Config) -> list[Problem]:
    """What is worth a look, as `portico check` says it."""
    return [replace(problem) for problem in warnings_for(config)]
