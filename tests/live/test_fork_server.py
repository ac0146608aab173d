"""A process that is forked cannot be told from one that Python was started for."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fork_server import Forked, ForkServer
from support.portico import command, environment, run_portico
from support.proc import alive
from support.process import Process
from support.waiting import until


class Apart(Process):
    """What it writes on standard error is kept apart."""

    SEPARATES = True


@pytest.fixture
def server() -> Iterator[ForkServer]:
    own = ForkServer(environment())
    try:
        yield own
    finally:
        own.close()


@pytest.mark.parametrize("arguments", [("version",), ("schema",), ("run", "--port"), ("check", "--config", "none")])
def test_a_command_writes_and_returns_the_same(arguments: tuple[str, ...], tmp_path: Path) -> None:
    whole = command(*arguments)
    started = subprocess.run(whole, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    forked = run_portico(*arguments)
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


def running(server: ForkServer, directory: Path) -> Forked:
    """A gateway that serves."""
    (directory / "portico.yaml").write_text(
        "gateway: {port: 0, admin: 127.0.0.1:0}\nservices: {a: {url: http://h:1}}\n"
    )
    with (directory / "out").open("wb") as out:
        process = server.start(command("run"), directory, environment(), [out.fileno()] * 3)
    until(lambda: "serves" in (directory / "out").read_text(), "it serves")
    return process


def test_a_signal_is_its_exit_code(server: ForkServer, tmp_path: Path) -> None:
    process = running(server, tmp_path)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0)
    process.kill()
    assert process.wait() == process.poll() == -signal.SIGKILL
    process.kill()  # does nothing: its number may be another's by now


def test_what_runs_ends_with_the_tests(server: ForkServer, tmp_path: Path) -> None:
    process = running(server, tmp_path)
    server.close()
    until(lambda: not alive(process.pid), "it has ended")


def test_code_that_runs_before_is_run_before(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('before')")
    path = f"{tmp_path}:{environment()['PYTHONPATH']}"
    with Apart(*command("version"), env=environment(PYTHONPATH=path)) as process:
        assert process.running.wait(60) == 0
        assert process.out().startswith("before\nportico ")
