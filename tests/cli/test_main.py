from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from portico import __main__, __version__
from portico.cli.admin_client import AdminClient
from portico.cli.main import app
from portico.config import Config
from portico.core.passwords import verify
from portico.processes.ipc.listeners import Listeners
from portico.processes.supervisor import main as supervisor

GOOD = "services: {books: {url: http://localhost:9001}}\npolicies: {rate_limit: {}}\n"


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("PORTICO_CONFIG", "ADMIN_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("GATEWAY_HOST", "GATEWAY_PORT"):
        monkeypatch.setenv(variable, "")  # is put back, whatever a command sets


def portico(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("command", ["run", "check", "routes"])
def test_without_a_file_nothing_is_served_and_the_way_on_is_named(command: str) -> None:
    done = portico(command)
    assert done.exit_code == 1
    for word in ("there is no portico.yaml", "portico init", "--config", "portico demo"):
        assert word in done.stderr


PUBLIC = (
    "everybody who reaches 0.0.0.0:8000 may read /, /health, /metrics, /docs and /openapi.json: "
    "gateway.endpoints: {NAME: internal | admin | off} says who may, and health: {detail: states} leaves out addresses "
    "and errors\n"
)


def test_from_init_to_check(tmp_path: Path) -> None:
    assert portico("init", "shop=http://localhost:8001").exit_code == 0
    for arguments in (["check"], ["check", "portico.yaml"], ["check", "--config", "portico.yaml"]):
        done = portico(*arguments)
        assert (done.exit_code, done.stdout, done.stderr) == (0, f"portico.yaml: ok: 1 service, 1 route\n{PUBLIC}", "")
    written = (tmp_path / "portico.yaml").read_text()
    done = portico("init")
    assert done.exit_code == 1
    assert "portico.yaml is there already" in done.stderr
    assert (tmp_path / "portico.yaml").read_text() == written


def test_check_and_routes_say_whose_host_a_service_gets(tmp_path: Path) -> None:
    (tmp_path / "portico.yaml").write_text(
        """\
gateway: {endpoints: {root: public, health: {detail: states}, metrics: off, docs: off}}
services:
  near: {url: http://10.0.0.5:8000}
  far: {url: https://api.example.com}
  both: {instances: [http://shop.internal, https://shop.example.com]}
  kept: {url: https://kept.example.com, preserve_host: true}
  not: {url: http://localhost:8000, preserve_host: false}
policies: {rate_limit: {}}
"""
    )
    lines = portico("check").stdout.splitlines()
    assert lines == [
        "portico.yaml: ok: 5 services, 5 routes",
        "far: api.example.com gets its own name as Host; preserve_host: true sends it the client's",
        "both: shop.example.com gets its own name as Host; preserve_host: true sends it the client's",
    ]
    header, *rows = (line.split() for line in portico("routes").stdout.splitlines())
    column = header.index("host")
    assert {row[0]: row[column] for row in rows} == {
        "near": "client's",
        "far": "service's",
        "both": "auto",
        "kept": "client's",
        "not": "service's",
    }


def test_routes_shows_every_form_of_a_route(tmp_path: Path) -> None:
    text = """\
    services: {a: {url: http://h, default_routes: false}}
    routes:
      - {service: a, path: = /x, methods: [GET], query: {v: true, w: "2"}}
      - {service: a, path: "~ ^/u/(?P<id>[0-9]+)$", rewrite: "/{id}", headers: {X-B: "~ ^1"}}
      - {path: /old, redirect: "/new/{path}", hosts: [h.example]}
      - {path: /no, respond: 404}
      - {path: /page, respond: {file: page.html}}
      - {service: a, fallback: true}
    """
    (tmp_path / "portico.yaml").write_text(textwrap.dedent(text))
    (tmp_path / "page.html").write_text("x")
    lines = portico("routes").stdout.splitlines()
    assert [re.split(r"  +", line.strip())[1:5] for line in lines] == [
        ["match", "service", "becomes", "host"],
        ["GET = /x ?v ?w=2", "a", "keep", "client's"],
        ["~ ^/u/(?P<id>[0-9]+)$ X-B=~ ^1", "a", "/{id}", "client's"],
        ["/old h.example", "-", "307 /new/{path}", "-"],
        ["/no", "-", "404", "-"],
        ["/page", "-", "200 page.html", "-"],
        ["fallback", "a", "keep", "client's"],
    ]


def test_routes_shows_each_version_and_check_counts_paths(tmp_path: Path) -> None:
    service = "{url: http://a:1, version_by: [header, query], versions: {v1: {}, v2: {rewrite: '/2/{path}'}}}"
    (tmp_path / "portico.yaml").write_text(f"services: {{shop: {service}}}\npolicies: {{rate_limit: false}}\n")
    lines = portico("routes").stdout.splitlines()[1:]
    assert [re.split(r"  +", line.strip())[:4] for line in lines] == [
        ["shop", "/api/shop by=header,query", "shop v1", "/{path}"],
        ["shop", "/api/shop by=header,query", "shop v2", "/2/{path}"],
    ]
    assert portico("check").stdout.startswith("portico.yaml: ok: 1 service, 1 route")


def test_routes_shows_who_gets_copies(tmp_path: Path) -> None:
    mirror = "[b, {service: a, version: v2, share: 2.5%}]"
    (tmp_path / "portico.yaml").write_text(
        "services: {a: {url: http://a:1, versions: {v2: {url: http://a:2}}}, b: {url: http://b:1}}\n"
        f"routes: [{{service: a, path: /m, mirror: {mirror}}}]\npolicies: {{rate_limit: false}}\n"
    )
    line = portico("routes").stdout.splitlines()[1]
    assert line.split()[:3] == ["a", "/m", "a"]
    assert line.endswith("mirror=b mirror=a@v2:2.5%")


def test_routes_shows_each_side_of_a_split(tmp_path: Path) -> None:
    split = "{path: /s, split: [{service: a, weight: 3}, {service: a, version: v2, weight: 1}]}"
    service = "{url: http://a:1, default_routes: false, versions: {v2: {}}}"
    (tmp_path / "portico.yaml").write_text(
        f"services: {{a: {service}}}\nroutes: [{split}]\npolicies: {{rate_limit: false}}\n"
    )
    lines = portico("routes").stdout.splitlines()[1:]
    assert [re.split(r"  +", line.strip())[:4] for line in lines] == [
        ["a", "/s", "a 75%", "/{path}"],
        ["a", "/s", "a v2 25%", "/{path}"],
    ]
    assert portico("check").stdout.startswith("portico.yaml: ok: 1 service, 1 route")


def test_routes_shows_what_is_off(tmp_path: Path) -> None:
    service = "{url: http://a:1, policies: {rewrite_location: false, rewrite_cookies: {path: off}}}"
    (tmp_path / "portico.yaml").write_text(f"services: {{a: {service}}}\npolicies: {{rate_limit: {{}}}}\n")
    assert portico("routes").stdout.splitlines()[1].endswith("rate_limit rewrite_location=off rewrite_cookies")


def test_routes_names_policies_of_ones_own(tmp_path: Path) -> None:
    entries = "[{use: ./policies/block.py:Block}, {use: own-package}]"
    (tmp_path / "portico.yaml").write_text(f"services: {{a: {{url: http://a:1}}}}\npolicies: {{plugins: {entries}}}\n")
    assert portico("routes").stdout.splitlines()[1].endswith("plugins=Block,own-package")


def test_init_writes_to_the_given_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert portico("init", "--config", "other.yaml").exit_code == 0
    monkeypatch.setenv("PORTICO_CONFIG", "third.yaml")
    assert portico("init").exit_code == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other.yaml", "third.yaml"]
    assert portico("init", "--config", "absent/portico.yaml").exit_code == 1
    assert portico("init", "--config", "/").exit_code == 1
    assert portico("init", "shop=here", "--config", "new.yaml").exit_code == 2
    assert not (tmp_path / "new.yaml").exists()


def test_check_takes_the_file_that_is_named_on_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text("servces: {}\n")
    monkeypatch.setenv("PORTICO_CONFIG", "bad.yaml")
    assert portico("check", "good.yaml").exit_code == 0
    assert portico("check").exit_code == 1
    assert portico("check", "good.yaml", "--config", "good.yaml").exit_code == 2


@pytest.mark.parametrize("command", ["services", "reload"])
@pytest.mark.parametrize("token", ["s3cret\n", "s3cret\n\n", "s3\x01cret"])
def test_a_token_of_the_environment_is_never_shown(
    command: str, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "portico.yaml").write_text(GOOD + "gateway: {admin: '127.0.0.1:1'}\n")
    monkeypatch.setenv("ADMIN_TOKEN", token)
    for arguments in ((), ("--admin", "127.0.0.1:1")):
        done = portico(command, *arguments)
        assert done.exit_code == 1
        assert "s3" not in done.output + done.stderr
        assert "no gateway answers" in done.stderr if token == "s3cret\n" else "ADMIN_TOKEN" in done.stderr


def test_a_wrong_file_of_the_environment_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTICO_CONFIG", "absent.yaml")
    done = portico("check")
    assert done.exit_code == 1
    assert done.stderr.startswith("absent.yaml: there is no such file")
    assert "PORTICO_CONFIG" in done.stderr
    assert "PORTICO_CONFIG" not in portico("check", "other.yaml").stderr


def test_version() -> None:
    assert portico("--version").stdout == portico("version").stdout
    assert portico("--version").stdout.startswith(f"portico {__version__} (Python ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ("127.0.0.1", 8080)),
        (("--port", "9090"), ("127.0.0.1", 9090)),
        (("--port", "0", "--host", "::1"), ("::1", 0)),
    ],
)
def test_run_listens_where_its_options_say(
    arguments: tuple[str, ...], expected: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Config] = []

    class NoSupervisor:
        def __init__(self, config: Config, *arguments: Any, **options: Any) -> None:
            started.append(config)

        def run(self) -> None:
            """Nothing is started."""

    monkeypatch.setattr(supervisor, "Supervisor", NoSupervisor)
    monkeypatch.setattr(Listeners, "open", lambda *_: None)
    (tmp_path / "portico.yaml").write_text(GOOD + "gateway: {host: 127.0.0.1, port: 8080}\n")
    assert portico("run", *arguments).exit_code == 0
    assert portico("run", "portico.yaml", *arguments).exit_code == 0
    assert portico("run", "portico.yaml", "--config", "portico.yaml").exit_code == 2
    assert started.pop().gateway == started[0].gateway
    assert [(config.gateway.host, config.gateway.port) for config in started] == [expected]
    assert portico("run", "--port", "70000").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "http://x"), "portico: --host: expected an address or a name of this machine, without scheme"),
        (("--host", ""), "portico: --host: expected an address"),
        (("--port", "abc"), "portico: --port: expected a whole number from 0 to 65535"),
        (("--port", "70000"), "portico: --port: expected a whole number"),
        (("--port", "-1"), "portico: --port: expected a whole number"),
        (("--port", ""), "portico: --port: expected a whole number"),
        (("--port", "8e3"), "portico: --port: expected a whole number"),
    ],
)
def test_a_wrong_option_is_named_as_it_was_given(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "portico.yaml").write_text(GOOD)
    done = portico("run", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)
    assert "GATEWAY" not in done.stderr


def test_a_port_in_use_is_advised_about_where_it_was_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (tmp_path / "portico.yaml").write_text(GOOD + f"gateway: {{host: 127.0.0.1, port: {port}, admin: '[::1]:0'}}\n")
        done = portico("run")
        assert done.exit_code == 1
        assert done.stderr.endswith("stop what uses it, or name another port: GATEWAY_PORT\n")
        assert portico("run", "--port", str(port)).stderr.endswith("or name another port: --port\n")


@pytest.mark.parametrize("command", ["check", "routes", "run"])
def test_a_file_that_cannot_be_used_is_a_plain_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "forbidden.yaml").write_text(GOOD)
    read_bytes = Path.read_bytes

    def read(path: Path) -> bytes:
        if path.name == "forbidden.yaml":  # the user of the tests may be root
            raise PermissionError(errno.EACCES, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "forbidden.yaml")
    for name, message in (
        ("pipe.yaml", "pipe.yaml: cannot be read: it is not a regular file\n"),
        ("forbidden.yaml", "forbidden.yaml: cannot be read: Permission denied\n"),
        ("absent.yaml", "absent.yaml: there is no such file; portico init writes one\n"),
        (".", ".: cannot be read: Is a directory\n"),
        ("/dev/null", "/dev/null: cannot be read: it is not a regular file\n"),
    ):
        for arguments in ((name,), ("--config", name)):
            done = portico(command, *arguments)
            assert (done.exit_code, done.stderr) == (1, message)


@pytest.fixture
def admin_api(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the gateway says about itself, and how often it reloaded."""
    gateway: dict[str, Any] = {"config": None, "reloads": 0}

    def request(client: AdminClient, method: str, path: str) -> dict[str, Any]:
        if path == "/admin/reload":
            gateway["reloads"] += 1
        return {"generation": 2, "services": [], "workers": [], "config": gateway["config"]}

    monkeypatch.setattr(AdminClient, "_request", request)
    return gateway


def test_reload_says_which_gateway_answered_and_leaves_others_alone(tmp_path: Path, admin_api: dict[str, Any]) -> None:
    (tmp_path / "portico.yaml").write_text(GOOD)
    (tmp_path / "link.yaml").symlink_to("portico.yaml")
    at = "the gateway at 127.0.0.1:9000"
    for served in ("portico.yaml", "link.yaml"):
        admin_api["config"] = str(tmp_path / served)
        done = portico("reload")
        assert (done.exit_code, done.stdout) == (0, f"generation 2 is in use by {at} ({tmp_path / served})\n")
    assert admin_api["reloads"] == 2
    for other, shown in (("/srv/other/portico.yaml",) * 2, (None, "without a file")):
        admin_api["config"] = other
        done = portico("reload")
        assert done.exit_code == 1
        assert f"not reloaded: {tmp_path}/portico.yaml is not the file of {at} ({shown})" in done.stderr
        assert admin_api["reloads"] == 2
    assert portico("reload", "--admin", "127.0.0.1:9000").exit_code == 0
    assert admin_api["reloads"] == 3


def test_reload_without_a_file_here(admin_api: dict[str, Any]) -> None:
    admin_api["config"] = "/srv/portico.yaml"
    assert "(/srv/portico.yaml)" in portico("reload").stdout


def test_services_says_which_gateway_answered(tmp_path: Path, admin_api: dict[str, Any]) -> None:
    (tmp_path / "portico.yaml").write_text(GOOD)
    admin_api["config"] = "/srv/portico.yaml"
    done = portico("services")
    assert done.stdout.endswith("generation 2, workers: 0, the gateway at 127.0.0.1:9000 (/srv/portico.yaml)\n")


def test_check_and_routes_know_several_listeners(tmp_path: Path) -> None:
    text = """\
    gateway: {listen: [{name: public, port: 8080, host: 127.0.0.1, routes: [a]}, {port: 8081, host: 127.0.0.1}]}
    services: {a: {url: http://a}, b: {url: http://b}}
    policies: {rate_limit: false}
    """
    (tmp_path / "portico.yaml").write_text(textwrap.dedent(text))
    assert portico("check").stdout.startswith("portico.yaml: ok: 2 services, 2 routes, 2 listeners\n")
    lines = portico("routes").stdout.splitlines()
    assert [re.split(r"  +", line.strip())[:4] for line in lines] == [
        ["route", "match", "listeners", "service"],
        ["a", "/api/a", "public 8081", "a"],
        ["b", "/api/b", "8081", "b"],
    ]


def test_a_listener_whose_port_is_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        listen = f"[{{port: 0, host: 127.0.0.1}}, {{name: inside, port: {port}, host: 127.0.0.1}}]"
        (tmp_path / "portico.yaml").write_text(f"gateway: {{listen: {listen}}}\nservices: {{a: {{url: http://a}}}}\n")
        done = portico("run")
    assert done.exit_code == 1
    said = f"portico: cannot listen on 127.0.0.1:{port} (listener inside): Address already in use"
    assert f"{said}; stop what uses it, or give it another port\n" in done.stderr


def test_the_hash_of_a_password() -> None:
    done = CliRunner().invoke(app, ["password"], input="wonderland\n")
    assert done.exit_code == 0
    assert verify(done.output.strip(), "wonderland")
    assert CliRunner().invoke(app, ["password"], input="\n").exit_code == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file that is full")
@pytest.mark.parametrize("arguments", [("routes",), ("version",)])
def test_what_is_printed_has_no_place(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "portico.yaml").write_text(GOOD)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "portico", *arguments], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"portico: cannot write: No space left on device\n")


def test_nothing_to_print_to() -> None:
    """What `portico routes >&-` has."""
    Path("portico.yaml").write_text(GOOD)
    command = 'exec "$0" -m portico routes >&-'
    done = subprocess.run(["/bin/sh", "-c", command, sys.executable], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_while_the_commands_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "portico.cli.main", Interrupted("portico.cli.main"))
    monkeypatch.setattr(sys, "argv", ["portico", "demo"])
    with pytest.raises(SystemExit, match="Aborted"):
        __main__.main()
