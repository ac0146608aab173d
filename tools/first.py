"""Measure what a newcomer waits for: from `git clone` to the first answer, from `pip install` to the first own route.

`python -m tools.first` does both in a directory that it removes, with what the commands of the README do and nothing
prepared but pip's cache of downloads. It takes ports 8000 to 8003 and 9000 of this machine, as the demo does.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
ANSWER: Final = "http://localhost:8000/api/gemini/api/analyze?window=30"
OWN_ROUTE: Final = "http://localhost:8000/api/own/hello"
LONGEST: Final = 300.0
"""Seconds after which it is given up."""


PORTS: Final = (8000, 8001, 8002, 8003, 9000)


def main() -> int:
    """Measure both, and print what each part took."""
    if taken := [port for port in PORTS if not _is_free(port)]:
        print(f"ports are taken that this needs: {', '.join(map(str, taken))}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="portico-first-") as name:
        clone(Path(name))
        install(Path(name))
    return 0


class _Watch:
    """Prints what each step took, and how long it took altogether."""

    def __init__(self, title: str) -> None:
        print(f"{title}:", flush=True)
        self._begin = self._last = time.monotonic()

    def step(self, what: str) -> None:
        now = time.monotonic()
        print(f"  {now - self._last:6.1f} s  {what}", flush=True)
        self._last = now

    def total(self, what: str) -> None:
        print(f"  {time.monotonic() - self._begin:6.1f} s  {what}", flush=True)


def clone(folder: Path) -> None:
    """`git clone`, `make run`, and a service that answers through the gateway."""
    watch = _Watch("from git clone to the first answer")
    _run("git", "clone", "--quiet", str(ROOT), str(folder / "clone"))
    watch.step("git clone")
    _run("make", "-s", f"{_environment()}/run", folder=folder / "clone")
    watch.step("make run sets up .venv")
    with _Running(folder / "clone", "make", "-s", "run"):
        _wait_for(ANSWER)
        watch.step("and starts the demo, of which a service answers")
        watch.total("altogether")


def install(folder: Path) -> None:
    """`pip install` of the checkout into an environment that is there, and then, for a service that is there,
    `portico init`, `portico run`, and its first answer.
    """
    venv, own = folder / "venv", folder / "own"
    own.mkdir()
    (own / "hello").write_text("hello\n", encoding="utf-8")
    _run(sys.executable, "-m", "venv", str(venv))
    pip = (venv / "bin/python", "-m", "pip", "-qq", "install", "--constraint", ROOT / "constraints.txt")
    with _Running(own, sys.executable, "-m", "http.server", "8001", "--bind", "127.0.0.1"):
        _wait_for("http://localhost:8001/hello")
        watch = _Watch("pip install")
        _run(*pip, folder / "clone")
        watch.total("pip install")
        watch = _Watch("from pip install to the first own route")
        _run(venv / "bin/portico", "init", "own=http://localhost:8001", folder=own)
        watch.step("portico init")
        with _Running(own, venv / "bin/portico", "run"):
            _wait_for(OWN_ROUTE)
            watch.step("portico run, and the service answers")
            watch.total("altogether")


def _environment() -> str:
    """The folder into which `make run` installs: one of its own for a Python that was named, as make passes it on."""
    version = ".".join(map(str, sys.version_info[:2]))
    return f".venv-{version}" if "PYTHON" in os.environ else ".venv"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _run(*command: object, folder: Path | None = None) -> None:
    subprocess.run([*map(str, command)], cwd=folder, env=_environ(), check=True, stdout=subprocess.DEVNULL)


def _environ() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS")}


class _Running:
    """A program that runs until the block ends."""

    def __init__(self, folder: Path, *command: object) -> None:
        self._folder, self._command = folder, [*map(str, command)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=_environ(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, 15)
        self._process.wait(60)


def _wait_for(url: str) -> None:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                response.read()
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise SystemExit(f"{url} did not answer within {LONGEST:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
