"""From what is written under `use` to a class: found, imported, and imported anew when its code has changed."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Final

from portico.core.faults import described
from portico.core.settings import Settings
from portico.policies.plugins import imports
from portico.policies.plugins.base import Policy
from portico.policies.plugins.settings import ENTRY_POINTS

_SYNC: Final = ("response", "body", "finished")
"""The hooks that are never async."""

_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "request": ("exchange",),
    "response": ("exchange", "head"),
    "body": ("exchange", "head"),
    "finished": ("exchange",),
    "open": (),
    "close": (),
}
"""What is called of a policy, with which arguments."""


class PluginError(Exception):
    """A policy cannot be used; the message says why and what to do.

    `word` is the part of `use` that leads nowhere; by words that lead somewhere, `known` has what would be right.
    """

    def __init__(self, message: str, word: str = "", known: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.word = word
        self.known = known


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy's class, and its name in events, metrics and answers.

    `code` is the text of the files that its unit was imported from, and of those beside them.
    """

    kind: type[Policy]
    name: str
    code: imports.Code


@dataclass(frozen=True, slots=True)
class _Target:
    """A class that is named: `prefix` is what comes before it in `use`, `module` what it is called in its unit."""

    prefix: str
    unit: imports.Unit | None
    module: str
    kind: str
    name: str


class Loader:
    """Loads the classes of one process; code that has not changed is not imported again."""

    def __init__(self) -> None:
        self._lock = Lock()

    def load(
        self, uses: Iterable[str], directory: Path, code: imports.Code = MappingProxyType({})
    ) -> dict[str, Loaded | PluginError]:
        """The class, or what is wrong, for each value of `use`; files are relative to `directory`.

        All of one unit come from the same import of it: the one before, unless a file of it has changed since and it
        can be imported as it is now. `code` is what files hold where it has them, whatever they hold by now.
        """
        with self._lock:
            importlib.invalidate_caches()
            found: dict[str, Loaded | PluginError] = {}
            units: dict[imports.Unit | None, dict[str, _Target]] = {}
            for use in dict.fromkeys(uses):
                try:
                    target = _target(use, directory, code)
                    units.setdefault(target.unit, {})[use] = target
                except PluginError as error:
                    found[use] = error
            for unit, targets in units.items():
                found |= _load_unit(unit, targets, code)
            return found

    @staticmethod
    def sources() -> list[Path]:
        """The files from which users' code was imported."""
        return [Path(file) for unit in imports.units() for file in unit.sources]


class _ImportFailedError(Exception):
    """Something of a unit could not be imported."""


def _load_unit(
    unit: imports.Unit | None, targets: dict[str, _Target], code: imports.Code
) -> dict[str, Loaded | PluginError]:
    if unit is None or unit.is_current(code):
        if unit is not None:
            unit.code = code  # for what is imported later
        return {use: _load(target) for use, target in targets.items()}
    found: dict[str, Loaded | PluginError] = {}
    try:
        with unit.anew(code):
            found = {use: _load(target) for use, target in targets.items()}
            if any(isinstance(each, PluginError) for each in found.values()):
                raise _ImportFailedError
    except _ImportFailedError:
        pass
    return found


def _load(target: _Target) -> Loaded | PluginError:
    try:
        return _class_of(target)
    except BaseException as error:  # of an import, or of a module or class that computes what it has
        if isinstance(error, ModuleNotFoundError) and error.name == target.module:
            return _no_module(target)
        return PluginError(_import_problem(target.prefix, error))


def _class_of(target: _Target) -> Loaded | PluginError:
    module = (target.unit or importlib).import_module(target.module)
    kind = getattr(module, target.kind, None)
    kinds = list(_policies(module))
    known = {name: f"{target.prefix}:{name}" for name in kinds}
    there = f"; it has {', '.join(kinds)}" if kinds else "; it has no class that is derived from portico.plugin.Policy"
    if kind is None:
        return PluginError(f"{target.prefix} has no class {target.kind}{there}", target.kind, known)
    if not (isinstance(kind, type) and issubclass(kind, Policy)) or kind is Policy:
        return PluginError(
            f"{target.kind} is no policy: derive it from portico.plugin.Policy{there}", target.kind, known
        )
    problem = _class_problem(kind)
    if problem:
        return PluginError(problem)
    return Loaded(kind, target.name, target.unit.text() if target.unit is not None else {})


def _no_module(target: _Target) -> PluginError:
    package, _, word = target.module.rpartition(".")
    path = getattr(sys.modules.get(package), "__path__", ())
    known = {info.name: f"{package}.{info.name}:{target.kind}" for info in pkgutil.iter_modules(path)}
    return PluginError(f"{package} has no module {target.module}", word, known)


def _has_methods(kind: type[Policy]) -> bool:
    """Whether a class has methods of its own."""
    own = (attribute for each in kind.__mro__ if not issubclass(Policy, each) for attribute in vars(each).items())
    return any(inspect.isfunction(value) and not name.startswith("_") for name, value in own)


def _class_problem(kind: type[Policy]) -> str | None:
    settings: Any = kind.Settings
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        return f"{kind.__name__}.Settings has to be a class that is derived from portico.Settings"
    own = [name for name in _METHODS if getattr(kind, name) is not getattr(Policy, name)]
    if not own and _has_methods(kind):  # one of them is misspelt: nobody would say that it guards nothing
        return f"{kind.__name__} has no hook: define one of request, response, body and finished, by exactly this name"
    for hook in _SYNC:
        if inspect.iscoroutinefunction(getattr(kind, hook)):
            return f"{kind.__name__}.{hook} is async, which only request(), open() and close() may be"
    for name in own:
        bound = isinstance(inspect.getattr_static(kind, name), (staticmethod, classmethod))
        if not _takes(getattr(kind, name), _METHODS[name] if bound else ("self", *_METHODS[name])):
            return f"{kind.__name__}.{name} is called as {name}({', '.join(_METHODS[name])}), which it does not take"
    if not _takes(kind, ()):
        return f"{kind.__name__}() is made without arguments: settings and context are there from open() on"
    return None


def _takes(called: Any, arguments: Iterable[str]) -> bool:
    try:
        inspect.signature(called, follow_wrapped=False).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # nobody knows what it takes
        return True
    return True


def _policies(module: Any) -> Iterator[str]:
    """The names of its policies."""
    for name, value in [*vars(module).items()]:
        if isinstance(value, type) and issubclass(value, Policy) and value is not Policy:
            yield name


# ---- what is named


def _target(use: str, directory: Path, code: imports.Code) -> _Target:
    place, colon, kind = use.partition(":")
    if place.endswith(".py") or "/" in place:
        return _file_target(place, kind, directory, code)
    if not colon:
        return _entry_point(use, code)
    if not kind.isidentifier() or not all(part.isidentifier() for part in place.split(".")):
        raise PluginError("expected package.module:Class, ./file.py:Class or the name of an entry point")
    advice = (
        "install it where the gateway runs, or name a file beside the configuration, "
        f"./{place.replace('.', '/')}.py:{kind}"
    )
    return _module_target(place, kind, kind, code, advice)


def _file_target(place: str, kind: str, directory: Path, code: imports.Code) -> _Target:
    file = Path(os.path.abspath(directory / place))  # noqa: PTH100
    if not file.is_file() and str(file) not in code:
        folder = place.rpartition("/")[0] or "."
        known = {each.stem: f"{folder}/{each.name}:{kind}" for each in sorted(file.parent.glob("*.py"))}
        raise PluginError(f"there is no file {file}", file.stem, known)
    if file.suffix != ".py":
        raise PluginError(f"{place} is not a file of Python: its name has to end with .py")
    if not kind.isidentifier():
        raise PluginError(f"name the class, too: {place}:Class")
    if "." in file.stem:
        raise PluginError(
            f"{place} cannot be imported: a module has no dot in its name; call it {file.stem.replace('.', '_')}.py"
        )
    return _Target(place, imports.directory_of(file.parent), file.stem, kind, kind)


def _module_target(place: str, kind: str, name: str, code: imports.Code, advice: str) -> _Target:
    """A class of an installed module; `advice` is what to do where that is not there."""
    try:
        unit = imports.unit_of(place, code)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(f"{error.name}.")):
            raise PluginError(f"there is no module {error.name}: {advice}") from None
        raise PluginError(_import_problem(place, error)) from error
    except BaseException as error:
        raise PluginError(_import_problem(place, error)) from error
    return _Target(place, unit, place, kind, name)


def _entry_point(name: str, code: imports.Code) -> _Target:
    points = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
    point = points.get(name)
    if point is None:
        there = f"there are {', '.join(sorted(points))}" if points else "no package that is installed here has one"
        raise PluginError(
            f"there is no entry point {name} in the group {ENTRY_POINTS}; {there}. "
            "A class is named as package.module:Class or ./file.py:Class",
            name,
            {each: each for each in points},
        )
    place, _, kind = point.value.partition(":")
    advice = (
        f"the entry point {name} names it; a running gateway does not see what pip install -e has added since it "
        "started: start it anew, or install the package without -e"
    )
    return _module_target(place.strip(), kind.strip(), name, code, advice)


def _import_problem(place: str, error: BaseException) -> str:
    where = "" if isinstance(error, SyntaxError) else _position(error)
    return f"{place} cannot be imported: {described(error)}{where}"


def _position(error: BaseException) -> str:
    """The last line of users' code that ran."""
    files = {file for unit in imports.units() for file in unit.sources}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


loader: Final = Loader()
"""That of this process."""

__all__ = ["Loaded", "Loader", "PluginError", "loader"]
