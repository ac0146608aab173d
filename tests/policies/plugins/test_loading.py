"""Users' code is imported from source as it is now, all of a unit together, and only where it has changed."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from portico.policies.plugins import imports
from portico.policies.plugins.loading import Loaded, Loader, PluginError

POLICY = """
from __future__ import annotations
from dataclasses import dataclass
from {beside} import VALUE
from portico.plugin import Policy

OWN = {own}
KEPT = []

@dataclass
class Point:
    x: int = 0

class P(Policy):
    value = VALUE, OWN
    kept = KEPT
    point = Point

    def finished(self, exchange):
        pass
"""


class Site:
    """A directory with `policies/`, a package on Python's path, and what a process has loaded of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loader = Loader()
        for folder in ("policies", "other", "lib/own_package_of_tests/deep"):
            (path / folder).mkdir(parents=True)
        self.write("lib/own_package_of_tests/__init__.py", "")
        self.write("lib/own_package_of_tests/deep/__init__.py", "")

    def write(self, name: str, text: str) -> None:
        """Write a file that has the size and the time of any other with as many letters."""
        (self.path / name).write_text(text)
        os.utime(self.path / name, (1_700_000_000, 1_700_000_000))

    def load(self, *uses: str) -> list[Any]:
        found = self.loader.load(uses, self.path)
        return [found[use].kind if isinstance(found[use], Loaded) else found[use] for use in uses]  # type: ignore[union-attr]

    def values(self, *uses: str) -> list[Any]:
        return [str(each) if isinstance(each, PluginError) else each.value for each in self.load(*uses)]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    units, modules = dict(imports._finder.units), set(sys.modules)
    yield Site(tmp_path.resolve())
    imports._finder.units.clear()
    imports._finder.units.update(units)
    for name in {*sys.modules} - modules:
        del sys.modules[name]


FILE, PACKAGE = "./policies/p.py:P", "own_package_of_tests.p:P"


def write_all(site: Site, value: int | str, own: int | str = 0) -> None:
    site.write("policies/beside.py", f"VALUE = {value}\n")
    site.write("policies/p.py", POLICY.format(beside="beside", own=own))
    site.write("lib/own_package_of_tests/deep/beside.py", f"VALUE = {value}\n")
    site.write("lib/own_package_of_tests/p.py", POLICY.format(beside="own_package_of_tests.deep.beside", own=own))


def test_an_edit_that_keeps_size_and_time_is_seen_in_the_file_and_beside_it(site: Site) -> None:
    write_all(site, 1)
    assert site.values(FILE, PACKAGE) == [(1, 0), (1, 0)]
    write_all(site, 2)
    assert site.values(FILE, PACKAGE) == [(2, 0), (2, 0)]
    write_all(site, 2, 3)
    assert site.values(FILE, PACKAGE) == [(2, 3), (2, 3)]
    assert not list(site.path.rglob("__pycache__"))


def test_bytecode_that_is_there_is_not_believed(site: Site) -> None:
    write_all(site, 1)
    for file in ("policies/beside.py", "lib/own_package_of_tests/deep/beside.py"):
        compiled = __import__("py_compile").compile(str(site.path / file))
        assert Path(compiled).is_file()
    write_all(site, 2)
    assert site.values(FILE, PACKAGE) == [(2, 0), (2, 0)]


@pytest.mark.parametrize("use", [FILE, PACKAGE])
def test_what_has_not_changed_is_not_imported_again(site: Site, use: str) -> None:
    write_all(site, 1)
    (first,) = site.load(use)
    first.kept.append("here")
    (second,) = site.load(use)
    assert second is first
    write_all(site, 2)
    (third,) = site.load(use)
    assert third is not first
    assert third.kept == []


@pytest.mark.parametrize("use", [FILE, PACKAGE])
@pytest.mark.parametrize(
    "wrong", ["1 / 0", "(", "exit(3)", "exec('raise KeyboardInterrupt')", "exec('raise GeneratorExit')"]
)
def test_what_cannot_be_imported_leaves_all_as_it_was_and_may_be_repaired(site: Site, use: str, wrong: str) -> None:
    write_all(site, 1)
    (first,) = site.load(use)
    module = sys.modules[first.__module__]
    write_all(site, wrong, 5)
    for _ in range(2):
        (error,) = site.load(use)
        assert isinstance(error, PluginError)
        assert sys.modules[first.__module__] is module
        assert module.OWN == 0
    write_all(site, 2, 5)
    assert site.values(use) == [(2, 5)]


@pytest.mark.parametrize("use", [FILE, PACKAGE])
def test_a_unit_is_one_import_whichever_of_it_is_used(site: Site, use: str) -> None:
    """Two policies that share a module have the same one, before and after a change of one of them."""
    write_all(site, 1)
    module = use.rpartition(":")[0]
    second = module.replace("p.py", "q.py") if ".py" in module else f"{module[:-2]}.q"
    for folder in ("policies", "lib/own_package_of_tests"):
        site.write(
            f"{folder}/q.py", f"from {'' if folder == 'policies' else 'own_package_of_tests.'}p import P\nQ = P\n"
        )
    one, other = site.load(use, f"{second}:Q")
    assert one is other
    write_all(site, 2)
    other, one = site.load(f"{second}:Q", use)
    assert one is other
    assert one.value == (2, 0)


def test_directories_have_their_own_modules_of_one_name(site: Site) -> None:
    for folder, value in (("policies", 1), ("other", 2)):
        site.write(f"{folder}/beside.py", f"VALUE = {value}\n")
        site.write(f"{folder}/p.py", POLICY.format(beside="beside", own=0))
    assert site.values(FILE, "./other/p.py:P") == [(1, 0), (2, 0)]
    assert "beside" not in sys.modules
    assert "p" not in sys.modules


def test_classes_can_be_found_again_by_their_names(site: Site) -> None:
    write_all(site, 1)
    for kind in site.load(FILE, PACKAGE):
        point = kind.point(7)
        assert pickle.loads(pickle.dumps(point)) == point


def test_modules_beside_hide_neither_pythons_own_nor_installed_ones(site: Site) -> None:
    for name in ("json", "yaml", "secrets"):
        site.write(f"policies/{name}.py", "raise LookupError('it is hidden')\n")
    (site.path / "policies" / "folder").mkdir()
    site.write("policies/folder/__init__.py", "")
    site.write("policies/folder/inner.py", "VALUE = 4\n")
    site.write("policies/beside.py", "import json, yaml, secrets\nimport folder.inner\nVALUE = folder.inner.VALUE\n")
    site.write(
        "policies/p.py",
        POLICY.format(beside="beside", own=0)
        + "    def late(self):\n        from folder import inner\n        return inner.VALUE\n",
    )
    (kind,) = site.load(FILE)
    assert kind.value == (4, 0)
    assert kind().late() == 4
    assert sys.modules["json"].loads("1") == 1


def test_a_directory_on_pythons_path_is_a_unit_all_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site.path / "policies"))
    write_all(site, 1)
    assert site.values(FILE) == [(1, 0)]
    write_all(site, 2)
    assert site.values(FILE) == [(2, 0)]


def test_relative_imports_work_beside(site: Site) -> None:
    write_all(site, 1)
    site.write("policies/p.py", POLICY.format(beside=".beside", own=0))
    assert site.values(FILE) == [(1, 0)]


def test_a_module_imported_later_is_as_current_as_the_others(site: Site) -> None:
    late = "    def finished(self, exchange):\n        import beside\n        return beside.VALUE\n"
    site.write("policies/p.py", f"from portico.plugin import Policy\nclass P(Policy):\n{late}")
    site.write("policies/beside.py", "VALUE = 1\n")
    (kind,) = site.load(FILE)
    assert kind().finished(None) == 1
    site.write("policies/beside.py", "VALUE = 2\n")
    (kind,) = site.load(FILE)
    assert kind().finished(None) == 2


@pytest.mark.parametrize("use", [FILE, PACKAGE])
@pytest.mark.parametrize("statement", ["import {0} as it", "from {0} import VALUE", "from .{1} import VALUE"])
def test_an_exchange_that_runs_on_imports_what_it_began_with(site: Site, use: str, statement: str) -> None:
    """An import in a function, after a reload: no request is served by a mixture (apisix issue 878)."""
    name = "beside" if use == FILE else "own_package_of_tests.deep.beside"
    relative = name.removeprefix("own_package_of_tests.")
    write_all(site, 1)
    text = POLICY.format(beside=name, own=0)
    late = f"    def late(self):\n        {statement.format(name, relative)}\n"
    late += "        return it.VALUE\n" if " as it" in statement else "        return VALUE\n"
    file = "policies/p.py" if use == FILE else "lib/own_package_of_tests/p.py"
    site.write(file, text + late)
    (old,) = site.load(use)
    beside = "policies/beside.py" if use == FILE else "lib/own_package_of_tests/deep/beside.py"
    site.write(beside, "VALUE = 2\n")
    (new,) = site.load(use)
    assert (old().late(), new().late()) == (1, 2)
    site.write(beside, "1 / 0\n")
    assert isinstance(site.load(use)[0], PluginError)
    assert (old().late(), new().late()) == (1, 2)


def test_what_is_imported_later_is_part_of_the_code_too(site: Site) -> None:
    """Between two reloads a service is admitted, which makes a configuration too: nothing edited meanwhile is used."""
    late = "    def request(self, exchange):\n        import beside\n        return beside.VALUE\n"
    site.write("policies/p.py", f"from portico.plugin import Policy\nclass P(Policy):\n{late}")
    site.write("policies/beside.py", "VALUE = 1\n")
    found = site.loader.load([FILE], site.path)[FILE]
    assert isinstance(found, Loaded)
    code = found.code
    for number in (2, 3):
        site.write("policies/beside.py", f"VALUE = {number}\n")
        again = site.loader.load([FILE], site.path, code)[FILE]
        assert isinstance(again, Loaded)
        assert again.kind().request(None) == 1  # type: ignore[arg-type, comparison-overlap]
    (kind,) = site.load(FILE)
    assert kind().request(None) == 3


def test_a_class_that_does_nothing_yet_is_a_policy(site: Site) -> None:
    site.write("policies/p.py", "from portico.plugin import Policy\nclass P(Policy):\n    every_answer = True\n")
    assert len(site.load(FILE)) == 1


def test_code_that_others_have_imported_is_left_alone() -> None:
    found = Loader().load(["portico.plugin:Exchange", "sys:path", "json:P"], Path())
    assert all(isinstance(each, PluginError) for each in found.values())
    assert sys.modules["portico.plugin"].Policy is __import__("portico.plugin", fromlist=["x"]).Policy
    assert not {"sys", "json", "portico"} & {unit.root for unit in imports.units()}


def test_a_namespace_is_not_replaced_with_its_packages(site: Site) -> None:
    (site.path / "lib" / "own_namespace_of_tests" / "inner").mkdir(parents=True)
    site.write("lib/own_namespace_of_tests/inner/__init__.py", "")
    site.write("lib/own_namespace_of_tests/inner/p.py", POLICY.format(beside="own_package_of_tests.deep.beside", own=0))
    write_all(site, 1)
    use = "own_namespace_of_tests.inner.p:P"
    assert site.values(use) == [(1, 0)]
    namespace = sys.modules["own_namespace_of_tests"]
    site.write("lib/own_namespace_of_tests/inner/p.py", POLICY.format(beside="own_package_of_tests.deep.beside", own=5))
    assert site.values(use) == [(1, 5)]
    assert sys.modules["own_namespace_of_tests"] is namespace


def test_an_entry_point_names_a_class(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all(site, 1)
    info = site.path / "lib" / "own_package_of_tests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package-of-tests\nVersion: 1.0\n")
    points = "[portico.policies]\nmine = own_package_of_tests.p:P\nlate = added_in_place_later.p:P\n"
    (info / "entry_points.txt").write_text(points)
    assert {point.name for point in metadata.entry_points(group="portico.policies")} == {"mine", "late"}
    found = site.loader.load(["mine", "mime", "late"], site.path)
    assert isinstance(found["mine"], Loaded)
    assert (found["mine"].name, found["mine"].kind.value) == ("mine", (1, 0))  # type: ignore[attr-defined]
    assert isinstance(found["mime"], PluginError)
    assert "there are late, mine" in str(found["mime"])
    assert found["mime"].known == {"mine": "mine", "late": "late"}
    assert "there is no module added_in_place_later: the entry point late names it" in str(found["late"])


def test_links_that_lead_elsewhere_after_a_while_are_followed_again(site: Site) -> None:
    """As Kubernetes swaps what is in a ConfigMap: every file is a link into a directory that is itself one."""
    for number in (1, 2):
        write_all(site, number)
        (site.path / "policies").rename(site.path / f"..{number}")
        (site.path / "policies").mkdir()
    (site.path / "..data").symlink_to("..1")
    for name in ("p.py", "beside.py"):
        (site.path / "policies" / name).symlink_to(f"../..data/{name}")
    assert site.values(FILE) == [(1, 0)]
    units = len(imports.units())
    (site.path / "new").symlink_to("..2")
    (site.path / "new").replace(site.path / "..data")
    shutil.rmtree(site.path / "..1")
    assert site.values(FILE) == [(2, 0)]
    assert len(imports.units()) == units


def test_its_files_are_those_that_were_imported(site: Site) -> None:
    write_all(site, 1)
    site.load(FILE)
    names = {file.name for file in Loader.sources() if site.path in file.parents}
    assert names == {"p.py", "beside.py"}


@pytest.mark.parametrize("use", [FILE, PACKAGE])
def test_code_that_comes_with_a_configuration_counts_whatever_files_hold_by_now(site: Site, use: str) -> None:
    """A process that starts later imports what the others have."""
    write_all(site, 1)
    first = site.loader.load([use], site.path)[use]
    assert isinstance(first, Loaded)
    code = dict(first.code)
    assert {Path(file).name for file in code} >= {"p.py", "beside.py"}
    write_all(site, "1 / 0")
    again = site.loader.load([use], site.path, code)[use]
    assert isinstance(again, Loaded)
    assert again.kind is first.kind, "nothing has changed"
    code = {file: text.replace(b"VALUE = 1", b"VALUE = 7") for file, text in code.items()}
    later = site.loader.load([use], site.path, code)[use]
    assert isinstance(later, Loaded)
    assert later.kind.value == (7, 0)  # type: ignore[attr-defined]
    assert isinstance(site.loader.load([use], site.path)[use], PluginError)


@pytest.mark.parametrize("use", [FILE, PACKAGE])
def test_code_that_comes_with_a_configuration_needs_no_files(site: Site, use: str) -> None:
    """They may be deleted, or be elsewhere, by the time that a worker is started again."""
    write_all(site, 1)
    first = site.loader.load([use], site.path)[use]
    assert isinstance(first, Loaded)
    code = {file: text.replace(b"VALUE = 1", b"VALUE = 7") for file, text in first.code.items()}
    shutil.rmtree(site.path / ("policies" if use == FILE else "lib/own_package_of_tests"))
    for unit in [each for each in imports.units() if each.sources.keys() <= code.keys() and each.sources]:
        del imports._finder.units[unit.root]  # as in a new process
        for name in [name for name in sys.modules if unit.holds(name)]:
            del sys.modules[name]
    later = site.loader.load([use], site.path, code)[use]
    assert isinstance(later, Loaded)
    assert later.kind.value == (7, 0)  # type: ignore[attr-defined]
    assert isinstance(site.loader.load([use], site.path)[use], PluginError)
