from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from portico.cli.log_files import backwards, coming, whole_lines_end
from portico.cli.main import app
from support.process import free_port

LINE = {
    "timestamp": "2026-01-31T12:00:00.123Z",
    "method": "GET",
    "path": "/api/shop/x",
    "client_ip": "10.0.0.1",
    "status_code": 200,
    "duration_ms": 12.345,
    "request_id": "a" * 32,
    "trace_id": "b" * 32,
    "service": "shop",
    "route": "shop",
    "upstream": "127.0.0.1:9001",
    "upstream_ms": 11.0,
    "attempts": 1,
    "bytes_in": 0,
    "bytes_out": 5,
    "user": None,
    "cache": None,
    "reason": None,
}
EVENT = {
    "timestamp": "2026-01-31T12:00:00.123Z",
    "level": "WARNING",
    "event": "instance cannot be reached",
    "instance": "a:1",
}
CLEARS = "\x1b[2J"


def line(**other: Any) -> str:
    return json.dumps({**LINE, **other})


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORTICO_CONFIG", raising=False)
    monkeypatch.setenv("TZ", "UTC")


def logs(text: str, *options: str) -> Result:
    Path("a.log").write_text(text)
    return CliRunner().invoke(app, ["logs", "a.log", *options])


def shown(*options: str, lines: list[str]) -> list[str]:
    """The ids of the lines that are shown."""
    done = logs("\n".join(lines) + "\n", "--json", *options)
    assert done.exit_code == 0, done.stderr
    return [json.loads(each)["request_id"] for each in done.stdout.splitlines()]


def test_a_line_in_words() -> None:
    done = logs(f"{line(attempts=2, reason='upstream_timeout', fields={'user_agent': 'curl'})}\n")
    assert done.stdout.partition(" ")[2] == (
        "200     12.3 ms GET /api/shop/x → shop 127.0.0.1:9001 from 10.0.0.1 attempts=2 "
        f"reason=upstream_timeout user_agent=curl id={'a' * 32}\n"
    )


def test_what_is_empty_is_not_shown() -> None:
    assert " user=" not in logs(f"{line(user='')}\n").stdout


def test_an_event_in_words() -> None:
    done = logs(f"{json.dumps(EVENT)}\n")
    assert done.stdout.partition(" ")[2] == "WARNING instance cannot be reached instance=a:1\n"


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), ["1", "2", "3", "4"]),
        (("-n", "2"), ["3", "4"]),
        (("-n", "0"), []),
        (("--status", "404"), ["2"]),
        (("--status", "4xx", "--status", "503"), ["2", "3"]),
        (("--service", "shop"), ["1", "3"]),
        (("--service", "shop", "--status", "5xx"), ["3"]),
        (("--route", "other"), ["4"]),
        (("--method", "post"), ["4"]),
        (("--path", "/api/pay"), ["2"]),
        (("--client", "10.0.0.9"), ["4"]),
        (("--user", "ann"), ["3"]),
        (("--reason", "no_route"), ["2"]),
        (("--id", "3"), ["3"]),
        (("--slower", "500ms"), ["3"]),
        (("--errors",), ["2", "3"]),
    ],
)
def test_what_is_asked_for(options: tuple[str, ...], ids: list[str]) -> None:
    lines = [
        line(request_id="1"),
        line(request_id="2", status_code=404, path="/api/payment", service="none", reason="no_route"),
        line(request_id="3", status_code=503, user="ann", duration_ms=500.0),
        line(request_id="4", route="other", service="pay", method="POST", client_ip="10.0.0.9"),
    ]
    assert shown(*options, lines=lines) == ids


def test_events_are_shown_where_no_exchange_is_asked_for() -> None:
    text = f"{json.dumps(EVENT)}\nno JSON\n{line()}\n"
    assert len(logs(text).stdout.splitlines()) == 3
    assert len(logs(text, "--errors").stdout.splitlines()) == 1
    assert len(logs(text, "--service", "shop").stdout.splitlines()) == 1


def test_nothing_in_a_log_steers_the_terminal() -> None:
    done = logs(f"{line(path=f'/x[red]{CLEARS}')}\n\x1b]0;title\x07\n")
    assert "\x1b" not in done.stdout
    assert "/x[red]" in done.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--status", "99"), "--status 99: write a status such as 404"),
        (("--slower", "soon"), "--slower soon: 'soon' is not a duration"),
    ],
)
def test_options_that_say_nothing(options: tuple[str, ...], says: str) -> None:
    done = logs("", *options)
    assert done.exit_code == 2
    assert says in done.stderr


def test_the_file_of_the_configuration() -> None:
    Path("portico.yaml").write_text("services: {}\ngateway: {log: {access: own.log}}\n")
    Path("own.log").write_text(f"{line()}\n")
    assert "GET /api/shop/x" in CliRunner().invoke(app, ["logs"]).stdout
    Path("portico.yaml").write_text(f"services: {{}}\ngateway: {{admin: 127.0.0.1:{free_port()}}}\n")
    done = CliRunner().invoke(app, ["logs"])
    assert done.exit_code == 1
    assert done.stderr.startswith("the gateway writes no file")
    assert "no gateway answers" in done.stderr


def test_a_file_or_the_gateway() -> None:
    for options in (["--live"], ["--admin", "127.0.0.1:9000"]):
        done = CliRunner().invoke(app, ["logs", "access.log", *options])
        assert done.exit_code == 2
        assert "leave FILE out, or --live and --admin" in done.stderr


def test_a_file_that_is_not_there() -> None:
    done = CliRunner().invoke(app, ["logs", "absent.log"])
    assert (done.exit_code, done.stderr) == (1, "portico: absent.log: No such file or directory\n")


def test_standard_input() -> None:
    done = CliRunner().invoke(app, ["logs", "-", "--status", "200"], input=f"{line()}\n{line(status_code=201)}\n")
    assert len(done.stdout.splitlines()) == 1


def test_lines_are_read_from_the_end() -> None:
    lines = [f"{number} {'x' * (number * 37 % 5000)}" for number in range(300)]
    file = io.BytesIO("\n".join(lines).encode() + b"\nbeing writ")
    end = whole_lines_end(file)
    assert [*backwards(file, end)] == lines[::-1]
    assert whole_lines_end(io.BytesIO(b"one line without an end")) == 0


def test_what_comes_is_read_also_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "b.log"
    path.write_text("old\n")
    read: list[str] = []
    came = threading.Condition()

    def reads(lines: Iterator[str]) -> None:
        for each in lines:
            with came:
                read.append(each)
                came.notify()
            if each == "end":
                break

    def expect(*lines: str) -> None:
        with came:
            assert came.wait_for(lambda: read == [*lines], timeout=30)

    file = path.open("rb")
    file.seek(4)
    with closing(coming(path, file)) as lines:
        thread = threading.Thread(target=reads, args=(lines,))
        thread.start()
        with path.open("a") as writer:
            writer.write("in two ")
            writer.flush()
            writer.write("pieces\n")
            writer.flush()
            expect("in two pieces")
            path.rename(tmp_path / "b.log.1")
            writer.write("late\n")
        path.write_text("new\n")
        expect("in two pieces", "late", "new")
        path.write_text("e\n")  # emptied in place
        expect("in two pieces", "late", "new", "e")
        with path.open("a") as writer:
            writer.write("end\n")
        thread.join(30)
    assert not thread.is_alive()
