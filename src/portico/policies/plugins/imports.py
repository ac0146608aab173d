"""Importing users' code so that it can be imported again: as a unit, from source, and apart from what else there is.

A unit is what is replaced together when one of its files has changed: a package with all its modules, or a directory
with the files of policies in it and the modules beside them.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

Code: TypeAlias = Mapping[str, bytes]
"""The text of files, by their paths, which counts in place of what they hold: with it a configuration was checked."""


class _Generation:
    """One import of a unit, until the next one.

    Running exchanges may still import in a function when the next one is there: they find the modules that they have.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self.replaced: dict[str, ModuleType] = {}
        """Its modules, once they are no longer those of the unit."""
        self.builtins = {**vars(builtins), "__import__": self._import}

    def _import(
        self,
        name: str,
        scope: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        wanted: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What `import` does in these modules."""
        prefix = "" if level else self._unit.prefix_of(name.partition(".")[0])
        whole = _absolute(name, scope, level) if level else prefix + name
        if whole in self.replaced:
            return self.replaced[whole if wanted else prefix + name.partition(".")[0]]
        if level or not prefix:
            return builtins.__import__(name, scope, local, wanted, level)
        if wanted:
            return builtins.__import__(whole, scope, local, wanted)
        importlib.import_module(whole)
        return sys.modules[prefix + name.partition(".")[0]]


class Unit:
    """A package or module `root`; `sources` is what its modules were imported from, by file."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.sources: dict[str, bytes] = {}
        self.code: Code = {}
        """What counts in place of what files hold."""
        self.is_imported = False
        self._generation = _Generation(self)

    def holds(self, module: str) -> bool:
        """Whether a module is part of it."""
        return module == self.root or module.startswith(f"{self.root}.")

    def find(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """Where a module of it is: in its code, or as Python finds it."""
        return spec_in(self.code, name, path) or self._find(name, path)

    def _find(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path) if finder is not _finder else None
            if spec is not None:
                return spec
        return None

    def prepare(self, module: ModuleType) -> None:
        """Called before the code of one of its modules runs."""
        module.__dict__["__builtins__"] = self._generation.builtins

    def prefix_of(self, top: str) -> str:  # noqa: ARG002
        """What comes before a name that its modules import, in `sys.modules`."""
        return ""

    def import_module(self, name: str) -> ModuleType:
        """A module of it. Raises whatever its code raises."""
        return importlib.import_module(name)

    def text(self) -> Code:
        """What it was imported from, and what is beside that: a function may import it later."""
        folders = {Path(file).parent for file in self.sources}
        beside = {str(file): _text(str(file), {}) for folder in folders for file in folder.glob("*.py")}
        return {file: text for file, text in beside.items() if text is not None} | self.sources

    def is_current(self, code: Code) -> bool:
        """Whether it is imported, and every file holds, now or by `code`, what was imported from it."""
        return self.is_imported and all(_text(file, code) == text for file, text in self.sources.items())

    @contextmanager
    def anew(self, code: Code) -> Iterator[None]:
        """Import it anew within; if that raises, all is as it was before."""
        modules = {name: sys.modules[name] for name in [*sys.modules] if self.holds(name)}
        self._generation.replaced = modules
        for name in modules:
            del sys.modules[name]
        before = self.sources, self.code, self._generation
        self.sources, self.code, self._generation = {}, code, _Generation(self)
        try:
            yield
        except BaseException:
            for name in [name for name in sys.modules if self.holds(name)]:
                del sys.modules[name]
            sys.modules.update(modules)
            self.sources, self.code, self._generation = before
            self._generation.replaced = {}
            raise
        self.is_imported = True
        _finder.replacements += bool(modules)


class Directory(Unit):
    """The files of policies in one directory, and the modules beside them, which they import by their plain names.

    All of them are modules of a package with a name of its own: two directories may have modules of the same name.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"portico_policies_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}")
        self.path = path
        self._beside: dict[str, bool] = {}

    def _find(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path)

    def import_module(self, name: str) -> ModuleType:
        if self.root not in sys.modules:
            self._beside = {}
            package = ModuleType(self.root, "Policies of users, from files beside a configuration.")
            package.__path__ = [str(self.path)]
            package.__spec__ = ModuleSpec(self.root, None, is_package=True)
            sys.modules[self.root] = package
        return importlib.import_module(f"{self.root}.{name}")

    def prefix_of(self, top: str) -> str:
        return f"{self.root}." if self._is_beside(top) else ""

    def _is_beside(self, top: str) -> bool:
        """Whether a name is that of a module beside: Python's own and installed ones come first."""
        if top not in self._beside:
            self._beside[top] = self._has(top) and not self._is_installed(top)
        return self._beside[top]

    def _has(self, top: str) -> bool:
        name = f"{self.root}.{top}"
        on_disk = (self.path / f"{top}.py").is_file() or (self.path / top).is_dir()
        return on_disk or spec_in(self.code, name, [str(self.path)]) is not None

    def _is_installed(self, top: str) -> bool:
        if top in sys.stdlib_module_names:
            return True
        try:
            spec = importlib.util.find_spec(top)
        except ValueError:  # it is there, but nobody knows from where
            return True
        if spec is None:
            return False
        own = (self.path / f"{top}.py", self.path / top / "__init__.py", self.path / top)
        places = [spec.origin, *(spec.submodule_search_locations or ())]  # the directory may be on Python's path
        return not any(place and Path(place).resolve() in [each.resolve() for each in own] for place in places)


class _Source(SourceFileLoader):
    """Compiles from source: bytecode would count as current for an edit within a second that keeps the size."""

    def __init__(self, name: str, path: str, unit: Unit) -> None:
        super().__init__(name, path)
        self._unit = unit

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        text = self._unit.code.get(path)
        if text is None:
            text = self.get_data(path)
        self._unit.sources[path] = text
        return self.source_to_code(text, path)

    def exec_module(self, module: ModuleType) -> None:
        self._unit.prepare(module)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of all units."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.replacements = 0

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        for unit in self.units.values():
            if unit.holds(fullname):
                spec = unit.find(fullname, path)
                if spec is not None and type(spec.loader) is SourceFileLoader:
                    spec.loader = _Source(fullname, spec.loader.path, unit)
                    spec.cached = None
                return spec
        return None


_finder: Final = _Finder()


def unit_of(module: str, code: Code) -> Unit | None:
    """The unit of an installed module: its package; None where other code has imported that, which keeps it.

    `code` is what files hold where it has them, whether or not they are still there.

    Raises whatever the search for it raises, and ModuleNotFoundError.
    """
    root = ""
    for part in module.split("."):  # a namespace package belongs to nobody
        root = f"{root}.{part}" if root else part
        if root in _finder.units:
            return _finder.units[root]
        known = sys.modules.get(root)
        spec = known.__spec__ if known is not None else spec_in(code, root, None) or importlib.util.find_spec(root)
        if spec is None and known is None:
            raise ModuleNotFoundError(f"No module named {root!r}", name=root)
        if spec is None or spec.origin is not None:
            if known is not None:
                return None
            break
    return _known(Unit(root))


def units() -> list[Unit]:
    """All units of this process."""
    return [*_finder.units.values()]


def replacements() -> int:
    """How often a unit of this process was imported again."""
    return _finder.replacements


def directory_of(path: Path) -> Unit:
    """The unit of a directory, by its absolute path: as it is named, since links may lead elsewhere after a while."""
    return _known(Directory(path))


def _known(unit: Unit) -> Unit:
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    return _finder.units.setdefault(unit.root, unit)


def spec_in(code: Code, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Where a module is among files that `code` has, whether or not they are still there; `path` is as for finders."""
    if not code:
        return None
    parent, _, tail = name.rpartition(".")
    for folder in path if path is not None else [] if parent else sys.path:
        base = f"{folder.rstrip(os.sep)}{os.sep}{tail}"
        package, module = f"{base}{os.sep}__init__.py", f"{base}.py"
        if package in code:
            return importlib.util.spec_from_file_location(name, package, submodule_search_locations=[base])
        if module in code:
            return importlib.util.spec_from_file_location(name, module)
    return None


def _absolute(name: str, scope: Mapping[str, object] | None, level: int) -> str:
    """The name of what is imported relatively; nothing where that cannot be said."""
    package = (scope or {}).get("__package__")
    try:
        return importlib.util.resolve_name("." * level + name, str(package or ""))
    except ImportError:
        return ""


def _text(file: str, code: Code) -> bytes | None:
    try:
        return code[file] if file in code else Path(file).read_bytes()
    except OSError:
        return None
