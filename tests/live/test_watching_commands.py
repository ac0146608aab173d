"""The commands that show what a running gateway does, until Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.backend import Backend
from support.portico import command, environment, run_portico
from support.process import Process, free_port
from support.waiting import until
from support.world import Gateway


class Command(Process):
    """One that goes on until it is told to end."""

    SEPARATES = True


@contextmanager
def portico(*arguments: str) -> Iterator[Command]:
    with Command(*command(*arguments), env=environment(TZ="UTC")) as own:
        yield own
        own.signal(signal.SIGINT)
        assert own.running.wait(30) == 0
        assert "Traceback" not in own.err()


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Backend() as shop, Gateway({"services": {"shop": shop, "users": shop}}) as own:
        own.wait_for_control()
        yield own


@pytest.fixture(scope="module")
def admin(gateway: Gateway) -> str:
    return f"127.0.0.1:{gateway.admin_port}"


def test_status_watch_where_there_is_no_terminal(gateway: Gateway, admin: str) -> None:
    with portico("status", "--watch", "--admin", admin) as watching:
        until(lambda: watching.out().count("service") >= 2, "two frames")
        gateway.get("/api/shop/x")
        until(lambda: re.search(r"^shop +1/1 +0\.\d+ ", watching.out(), re.MULTILINE), "the request is counted")
        assert "\x1b" not in watching.out()
        assert f"portico  {admin}  generation 1  1 worker" in watching.out()


def test_status_watch_for_programs(admin: str) -> None:
    with portico("status", "--watch", "--json", "--admin", admin) as watching:
        until(lambda: watching.out().count("\n") >= 2, "two lines")
        first = json.loads(watching.out().splitlines()[0])
        assert {service["name"] for service in first["services"]} >= {"shop", "users"}


def test_status_watch_ends_with_its_reader(admin: str) -> None:
    watching = subprocess.Popen(
        command("status", "--watch", "--admin", admin),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watching.stdout is not None
    assert watching.stderr is not None
    assert watching.stdout.readline().startswith(b"portico")
    watching.stdout.close()
    assert watching.wait(30) == 0
    assert watching.stderr.read() == b""
    watching.stderr.close()


def test_status_watch_in_a_terminal(admin: str) -> None:
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    watching = subprocess.Popen(
        command("status", "--watch", "--admin", admin),
        env=environment(TERM="xterm"),
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    written = b""

    def shows(text: bytes) -> bool:
        nonlocal written
        written += os.read(terminal, 65536)
        return text in written

    until(lambda: shows(b"p95"), "a screen of 80 columns")
    written = b""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    until(lambda: shows(b"p99  errors") and b"p95" not in written[written.rindex(b"service") :], "one of 50")
    watching.send_signal(signal.SIGINT)
    while True:
        try:
            if not shows(b""):
                break
        except OSError:  # it has let go of the terminal
            break
    assert watching.wait(30) == 0
    assert written.endswith(b"\x1b[?1049l"), "the screen is as it was before"
    os.close(terminal)


@pytest.mark.parametrize("words", [("status", "--watch"), ("logs",)])
def test_a_gateway_that_does_not_answer_ends_the_command(words: tuple[str, ...]) -> None:
    done = run_portico(*words, "--admin", f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "no gateway answers" in done.stderr


def test_logs_of_what_comes(gateway: Gateway, admin: str) -> None:
    with portico("logs", "--admin", admin, "--status", "4xx", "--path", "/api/none") as watching:
        until(lambda: "as they end" in watching.err(), "it watches")
        gateway.get("/api/shop/x")
        gateway.get("/nowhere")
        gateway.get("/api/none/of/these")
        until(lambda: "GET /api/none/of/these" in watching.out(), "the exchange that is asked for")
        (line,) = watching.out().splitlines()
        assert re.fullmatch(r"\S+ 404 +\S+ ms GET /api/none/of/these → .* reason=no_route .*id=[0-9a-f]{32}", line)


def test_logs_of_the_next_ones_for_programs(gateway: Gateway, admin: str) -> None:
    watching = Command(
        *command("logs", "--live", "--admin", admin, "-n", "2", "--json", "--service", "shop"), env=environment()
    )
    with watching:
        until(lambda: "as they end" in watching.err(), "it watches")
        for number in range(3):
            gateway.get(f"/api/shop/{number}")
        assert watching.running.wait(30) == 0, "it ends by itself"
        assert [json.loads(line)["path"] for line in watching.out().splitlines()] == ["/api/shop/0", "/api/shop/1"]


def test_a_filter_that_is_wrong(admin: str) -> None:
    done = run_portico("logs", "--admin", admin, "--status", "4")
    assert (done.returncode, done.stderr) == (
        2,
        "portico: --status 4: write a status such as 404, or a class such as 5xx\n",
    )
