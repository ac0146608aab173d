from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from portico.cli.main import app
from portico.config import load_config

PLAIN = "http { upstream books { server 127.0.0.1:9001; } server { location / { proxy_pass http://books; } } }\n"


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORTICO_CONFIG", raising=False)


def portico(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_configuration_goes_to_stdout_and_the_report_to_stderr() -> None:
    Path("nginx.conf").write_text(PLAIN)
    done = portico("import", "nginx", "nginx.conf")
    Path("portico.yaml").write_text(done.stdout)
    assert "books" in load_config(Path("portico.yaml"), {}).services
    assert "nginx.conf:1: taken: upstream books" in done.stderr


def test_what_is_left_ends_with_1() -> None:
    Path("nginx.conf").write_text(f"load_module x.so;\n{PLAIN}")
    done = portico("import", "nginx", "nginx.conf")
    assert done.exit_code == 1
    assert "# nginx.conf:1: load_module x.so: " in done.stdout
    assert "nginx.conf:1: left: load_module x.so" in done.stderr
    assert portico("import", "nginx", "nginx.conf", "--lossy").exit_code == 0


def test_no_file_is_written_over_unless_that_is_meant() -> None:
    Path("nginx.conf").write_text(PLAIN)
    Path("edge.yaml").write_text("mine")
    done = portico("import", "nginx", "nginx.conf", "--output", "edge.yaml")
    assert (done.exit_code, Path("edge.yaml").read_text()) == (2, "mine")
    assert "edge.yaml is there already; --force writes over it" in done.stderr
    done = portico("import", "nginx", "nginx.conf", "--output", "edge.yaml", "--report", "report.txt", "--force")
    assert "books" in Path("edge.yaml").read_text()
    report = Path("report.txt").read_text()
    assert "taken: upstream books" in report
    assert done.stderr == report.splitlines(keepends=True)[-1]


def test_the_report_may_go_to_stdout_where_the_configuration_does_not() -> None:
    Path("nginx.conf").write_text(PLAIN)
    assert "taken: upstream" in portico("import", "nginx", "nginx.conf", "-o", "a.yaml", "--report", "-").stdout
    assert portico("import", "nginx", "nginx.conf", "--report", "-").exit_code == 2


def test_what_cannot_be_read_ends_with_2_and_says_where() -> None:
    Path("nginx.conf").write_text("http {\n  server {\n    listen 80\n  }\n}\n")
    done = portico("import", "nginx", "nginx.conf")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("nginx.conf:3: a ; is missing")
    assert portico("import", "nginx", "nowhere.conf").exit_code == 2


def test_a_file_that_is_included_and_not_there_is_named_with_the_ways_out() -> None:
    Path("nginx.conf").write_text("http {\n  include mime.types;\n}\n")
    done = portico("import", "nginx", "nginx.conf")
    assert done.exit_code == 2
    assert "nginx.conf:2: the included file mime.types is not there; import what nginx -T prints" in done.stderr


def test_a_prefix_is_for_nginx_alone() -> None:
    Path("kong.yaml").write_text('_format_version: "3.0"\nroutes: [{name: a}]\n')
    done = portico("import", "kong", "kong.yaml", "--prefix", ".")
    assert done.exit_code == 2
    assert "only files of nginx include others" in done.stderr
