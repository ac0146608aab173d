"""Measure what a newcomer waits for: from `git clone` to the first answer, from `pip install` to the first own route.

`python -m tools.first` does both in a directory that it removes, with what the commands of the README do and nothing
prepared but pip's cache of downloads. It takes ports 8000 to 8003 and 9000 of this machine, as the demo does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
ANSWER: Final = "http://localhost:8000/api/gemini/api/analyze?window=30"
OWN_ROUTE: Final = "http://localhost:8000/api/own/hello"
LONGEST: Final = 300.0
"""Seconds after which it is given up."""


def main() -> int:
    """Measure both, and print what each part took."""
    with tempfile.TemporaryDirectory(prefix="portico-first-") as name:
        folder = Path(name)
        _report("from git clone to the first answer", lambda stamp: clone(folder, stamp))
        _report("from pip install to the first own route", lambda stamp: install(folder, stamp))
    return 0


Stamp = Callable[[str], None]
"""Called with what has been done."""


def _report(title: str, measure: Callable[[Stamp], None]) -> None:
    begin = last = time.monotonic()

    def stamp(what: str) -> None:
        nonlocal last
        now = time.monotonic()
        print(f"  {now - last:6.1f} s  {what}", flush=True)
        last = now

    print(f"{title}:", flush=True)
    measure(stamp)
    print(f"  {time.monotonic() - begin:6.1f} s  altogether", flush=True)


def clone(folder: Path, stamp: Stamp) -> None:
    """`git clone`, `make run`, and a service that answers through the gateway."""
    _run("git", "clone", "--quiet", str(ROOT), str(folder / "clone"))
    stamp("git clone")
    _run("make", "-s", ".venv/run", folder=folder / "clone")
    stamp("make sets up .venv")
    with _Running(folder / "clone", "make", "-s", "run"):
        _wait_for(ANSWER)
        stamp("the demo answers")


def install(folder: Path, stamp: Stamp) -> None:
    """`pip install` of the checkout into an environment that is there, `portico init`, `portico run`, the first answer
    of a service of one's own.
    """
    venv, own = folder / "venv", folder / "own"
    own.mkdir()
    _run(sys.executable, "-m", "venv", str(venv))
    (own / "hello").write_text("hello\n", encoding="utf-8")
    with _Running(own, sys.executable, "-m", "http.server", "8001", "--bind", "127.0.0.1"):
        _wait_for("http://localhost:8001/hello")
        stamp("(a virtual environment and a service are there before: this does not count)")
        begin = time.monotonic()
        _run(
            venv / "bin/python",
            "-m",
            "pip",
            "-qq",
            "install",
            "--constraint",
            ROOT / "constraints.txt",
            folder / "clone",
        )
        stamp("pip install")
        installed = time.monotonic()
        _run(venv / "bin/portico", "init", "own=http://localhost:8001", folder=own)
        stamp("portico init")
        with _Running(own, venv / "bin/portico", "run"):
            _wait_for(OWN_ROUTE)
            stamp("portico run answers")
            now = time.monotonic()
            print(f"  {now - begin:6.1f} s  with pip install, {now - installed:.1f} s after it", flush=True)


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
