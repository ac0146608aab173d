"""Users' policies that a configuration names: whether they can be loaded, and take what is written for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from portico.config.model import Config
from portico.config.problems import Finding, KeyPath, nearest
from portico.config.words import findings_of
from portico.core.faults import described
from portico.policies.plugins.base import Policy
from portico.policies.plugins.imports import Code
from portico.policies.plugins.loading import PluginError, loader
from portico.policies.plugins.settings import PluginSettings

_ADAPTER = TypeAdapter(list[PluginSettings])


def check_plugins(config: Config) -> tuple[list[str], Code]:
    """What is wrong with users' policies, a line each, and the text of the files from which they were imported."""
    written = list(_written(config))
    found = loader.load([entry.use for _, entry in written], config.directory) if written else {}
    findings: list[Finding] = []
    code: dict[str, bytes] = {}
    for path, entry in written:
        loaded = found[entry.use]
        if isinstance(loaded, PluginError):
            word = nearest(loaded.word, loaded.known)
            findings.append(Finding((*path, "use"), str(loaded), loaded.known[word] if word else None))
        else:
            code |= loaded.code
            findings += _settings_findings(loaded.kind, entry, (*path, "with"))
    return list(dict.fromkeys(str(config.problem(finding)) for finding in findings)), code


def names_plugins(config: Config) -> bool:
    """Whether any level names a policy of a user's own."""
    return any(True for _ in _written(config))


def plugin_files() -> list[Path]:
    """The files from which this process has imported users' code."""
    return loader.sources()


def _settings_findings(kind: type[Policy], entry: PluginSettings, path: KeyPath) -> Iterator[Finding]:
    try:
        kind.Settings.model_validate(entry.written)
    except ValidationError as error:
        for finding in findings_of(error, entry.written, kind.Settings):
            yield replace(finding, path=(*path, *finding.path))
    except BaseException as error:  # a validator of theirs
        yield Finding(path, f"{kind.__name__}.Settings failed: {described(error)}")


def _written(config: Config) -> Iterator[tuple[KeyPath, PluginSettings]]:
    """Every entry of every level's list, whether or not a route comes to it, with where it is written."""
    for path, policies in config.levels():
        said = policies.said.get("plugins")
        if isinstance(said, list):
            for index, entry in enumerate(_ADAPTER.validate_python(said)):
                yield (*path, "plugins", index), entry
