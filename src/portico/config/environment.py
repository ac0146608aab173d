"""The environment variables that stand for keys of the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from portico.config.otel_environment import VARIABLES, otel_values
from portico.config.problems import ENVIRONMENT, Finding, KeyPath
from portico.config.section import is_word


def _words(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]


OVERRIDES: dict[str, KeyPath] = {
    "GATEWAY_HOST": ("gateway", "host"),
    "GATEWAY_PORT": ("gateway", "port"),
    "GATEWAY_WORKERS": ("gateway", "workers"),
    "GATEWAY_ADMIN": ("gateway", "admin"),
    "ADMIN_TOKEN": ("gateway", "admin_token"),
    "REDIS_URL": ("gateway", "redis_url"),
    "LOG_LEVEL": ("gateway", "log", "level"),
    "LOG_FORMAT": ("gateway", "log", "format"),
    "RATE_LIMIT_REQUESTS_PER_MINUTE": ("policies", "rate_limit", "requests_per_minute"),
    "RATE_LIMIT_BURST": ("policies", "rate_limit", "burst"),
}
"""These override the file."""

DEFAULTS: dict[str, KeyPath] = {"ACCESS_TOKEN_EXPIRE_MINUTES": ("gateway", "access_token_expire_minutes")}
"""These apply where the file says nothing."""

POLICY_DEFAULTS: dict[str, tuple[KeyPath, Callable[[str], Any]]] = {
    "SECRET_KEY": (("auth", "jwt", "secret"), str),
    "ALGORITHM": (("auth", "jwt", "algorithms"), _words),
    "IDENTITY_KEYS": (("identity", "keys"), _words),
}
"""These complete a policy wherever it is on and says nothing of the kind; they turn nothing on."""


_LINK = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that can be used, what is `wrong` with others, and what was `ignored` and may be used without."""

    values: dict[str, str]
    wrong: list[Finding]
    ignored: list[Finding]


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Each variable without the newline that files and `echo` put at the end.

    Ignored is a GATEWAY_PORT that Kubernetes sets to the address of a Service called `gateway` (a service link).
    """
    values = {name: without_newline(text) for name, text in environ.items()}
    wrong, ignored = [], []
    for name in [*OVERRIDES, *DEFAULTS, *POLICY_DEFAULTS, *VARIABLES]:
        if not is_text(values.get(name, "")):
            wrong.append(Finding((ENVIRONMENT, name), "is not UTF-8 text"))
            del values[name]
    if _LINK.fullmatch(values.get("GATEWAY_PORT", "")):
        del values["GATEWAY_PORT"]
        message = (
            "ignored: Kubernetes set it, to the address of the Service called gateway; "
            "enableServiceLinks: false in the pod keeps such variables away"
        )
        ignored.append(Finding((ENVIRONMENT, "GATEWAY_PORT"), message))
    return Environment(values, wrong, ignored)


def is_text(value: str) -> bool:
    """Whether it was UTF-8: Python reads other bytes as half characters (PEP 383)."""
    return not re.search("[\ud800-\udfff]", value)


def without_newline(text: str) -> str:
    """A value without the one newline at its end."""
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


@dataclass(frozen=True, slots=True)
class Completed:
    """A file's tree with the environment's part in it; `origins` maps paths to the variables they came from."""

    tree: Any
    origins: dict[KeyPath, str]
    policy_defaults: dict[str, Any]


def complete(tree: dict[str, Any], environ: Mapping[str, str]) -> Completed:
    """Put the environment's values into a copy of `tree`. An empty variable counts as unset."""
    origins: dict[KeyPath, str] = {}
    for variable, path in {**OVERRIDES, **DEFAULTS}.items():
        value = environ.get(variable)
        if not value or (variable in DEFAULTS and _at(tree, path) is not None):
            continue
        target = _rate_limit_path(tree, path) if path[:2] == ("policies", "rate_limit") else _listener_path(tree, path)
        if target is not None and (changed := _with(tree, target, value)) is not tree:
            tree = changed
            origins[target] = variable
    written = tree
    for standing in otel_values(environ, lambda path: not is_word(_at(written, path) or False, False)):
        if not standing.overrides and _at(tree, standing.path) is not None:
            continue
        if (changed := _with(tree, standing.path, standing.value)) is not tree:
            tree = changed
            if standing.variable:
                origins[standing.path] = standing.variable
    policy_defaults: dict[str, Any] = {}
    for variable, (path, read) in POLICY_DEFAULTS.items():
        if value := environ.get(variable):
            policy_defaults = _with(policy_defaults, path, read(value))
    return Completed(tree, origins, policy_defaults)


def variable_for(policy_path: KeyPath) -> str | None:
    """The variable that a completed part of a policy came from; the path starts with the policy's key."""
    for variable, (path, _) in POLICY_DEFAULTS.items():
        if policy_path[: len(path)] == path:
            return variable
    return None


def _rate_limit_path(tree: Any, path: KeyPath) -> KeyPath | None:
    """The first limit of a list; nothing where limiting is turned off."""
    written = _at(tree, path[:2])
    if is_word(written, False):
        return None
    return (*path[:2], 0, *path[2:]) if isinstance(written, list) and written else path


def _listener_path(tree: Any, path: KeyPath) -> KeyPath:
    """Host and port of the first listener, where several are written."""
    written = _at(tree, ("gateway", "listen"))
    is_first = path in (("gateway", "host"), ("gateway", "port")) and isinstance(written, list) and written
    return ("gateway", "listen", 0, path[-1]) if is_first else path


def _at(tree: Any, path: KeyPath) -> Any:
    for part in path:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _with(tree: Any, path: KeyPath, value: Any) -> Any:
    """A copy of `tree` with `value` at `path`; `tree` itself where something other than a mapping is on the way."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if tree is None or is_word(tree, True):
        tree = {}
    if isinstance(tree, list) and isinstance(part, int):
        inner = _with(tree[part], rest, value)
        return tree if inner is tree[part] else [*tree[:part], inner, *tree[part + 1 :]]
    if not isinstance(tree, dict):
        return tree
    old = tree.get(part)
    inner = _with(old, rest, value)
    return tree if inner is old and rest else {**tree, part: inner}
