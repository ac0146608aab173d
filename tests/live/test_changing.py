"""The commands that change the configuration of a running gateway, and what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from portico.cli.main import app
from support.backend import Backend
from support.client import ask
from support.world import Gateway

KEY = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("state")
    with Backend() as shop:
        config = {
            "gateway": {
                "admin": "127.0.0.1:0",
                "admin_token": "a-token-of-the-admin-api",
                "admin_tokens": [{"name": "ann", "token": "a-token-that-only-reads", "access": "read"}],
                "state_dir": str(state),
            },
            "services": {"shop": {"url": shop.url, "health_check": False, "timeout": 30}},
            "policies": {"auth": {"api_key": {}}},
            "consumers": [{"name": "ann", "keys": [KEY]}],
        }
        with Gateway(config) as own:
            own.wait_for_control()
            yield own


@pytest.fixture(autouse=True)
def _here(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with what is in force, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADMIN_TOKEN", "a-token-of-the-admin-api")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PORTICO_CONFIG", raising=False)
    Path("now.yaml").write_text(gateway.file.read_text())


@pytest.fixture
def portico(gateway: Gateway) -> Portico:
    return Portico(gateway)


class Portico:
    """Commands for the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._admin = f"127.0.0.1:{gateway.admin_port}"
        self.of = f"the gateway at {self._admin} ({gateway.file})"

    def __call__(self, *arguments: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(app, [*arguments, "--admin", self._admin], input=typed)

    def generation(self) -> int:
        found: int = json.loads(self("history", "--json").stdout)["generation"]
        return found

    def tag(self) -> str:
        found = re.search(r"tag ([0-9a-f]+)$", self("dump").stdout.splitlines()[0])
        assert found
        return found[1]


def changed(old: str, new: str, file: str = "new.yaml") -> str:
    """Another file, in which something is written otherwise than in the one in force."""
    text = Path("now.yaml").read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))
    return file


def faster(seconds: int, file: str = "new.yaml") -> str:
    found = re.search(r"timeout: \d+", Path("now.yaml").read_text())
    assert found
    return changed(found[0], f"timeout: {seconds}", file)


def open_to_all(text: str) -> str:
    return re.sub(r"policies:\n  auth:\n    api_key: \{\}\n", "", text)


def test_a_plan_and_its_application(gateway: Gateway, portico: Portico) -> None:
    new, before = faster(11), portico.generation()
    done = portico("plan", new)
    assert done.exit_code == 2
    head, *rest = done.stdout.splitlines()
    assert re.fullmatch(r"~ service shop \(new\.yaml:\d+\)", head)
    assert rest == ["    timeout.response: 30 → 11", "    timeout.idle: 30 → 11", "1 change: 1 changed"]
    assert portico.generation() == before, "a plan changes nothing"

    done = portico("apply", new, "--why", "it is slow")
    assert done.exit_code == 0
    *said, number = done.stdout.splitlines()[1:]
    assert said == [*rest, f"generation {before + 1} is in use by {portico.of}; portico rollback goes back"]
    assert re.fullmatch(r"portico history \d+ says what that changed", number)
    assert gateway.file.read_text() == Path(new).read_text()
    assert (portico("plan", new).exit_code, portico("plan", new).stdout) == (0, "no changes\n")


def test_a_plan_for_programs(portico: Portico) -> None:
    (change,) = json.loads(portico("plan", faster(12), "--format", "json").stdout)
    assert (change["kind"], change["what"], change["effect"]) == ("changed", "service shop", None)


def test_what_is_applied_once_more_changes_nothing(gateway: Gateway, portico: Portico) -> None:
    """C33: the same in other words makes no generation."""
    before, text = portico.generation(), gateway.file.read_text()
    whole = yaml.safe_load(text)
    seconds = whole["services"]["shop"]["timeout"]
    whole["services"]["shop"] |= {
        "timeout": {"idle": f"{seconds}s", "response": seconds * 1000},
        "default_routes": True,
    }
    whole["services"]["shop"]["timeout"]["response"] = f"{seconds * 1000}ms"
    anchored = yaml.safe_dump(dict(reversed(whole.items())), sort_keys=True)
    for again in (text, f"# a comment\n{text}", anchored):
        Path("again.yaml").write_text(again)
        done = portico("plan", "again.yaml")
        assert (done.exit_code, done.stdout) == (0, "no changes\n"), again
        done = portico("apply", "again.yaml")
        assert (done.exit_code, done.stdout) == (0, f"no changes\ngeneration {before} stays in use by {portico.of}\n")
    assert gateway.file.read_text() == text


def test_what_is_dumped_changes_nothing(portico: Portico) -> None:
    """C33: and its secrets stay what they are."""
    before = portico.generation()
    for form in ((), ("--file",), ("--format", "json")):
        dumped = portico("dump", *form)
        assert dumped.exit_code == 0
        assert "a-token-of-the-admin-api" not in dumped.stdout
        Path("b.yaml").write_text(dumped.stdout)
        for command in ("plan", "apply"):
            done = portico(command, "b.yaml")
            assert done.exit_code == 0, done.output
            assert done.stdout.startswith("no changes\n")
    assert portico.generation() == before


def test_what_loosens_a_guard_is_asked_for(gateway: Gateway, portico: Portico) -> None:
    Path("open.yaml").write_text(open_to_all(Path("now.yaml").read_text()))
    done = portico("apply", "open.yaml")
    assert done.exit_code == 1
    assert "- policy auth of route shop, loosened (open.yaml:" in done.stdout
    assert "    warning: callers are not asked who they are any more" in done.stdout
    assert done.stderr == (
        "portico: not applied: this lets more requests through than now: policy auth of route shop; "
        "--yes says that it is meant\n"
    )
    assert gateway.get("/api/shop/echo").status == 401
    assert portico("apply", "open.yaml", "--yes").exit_code == 0
    assert gateway.get("/api/shop/echo").status == 200
    assert portico("rollback").exit_code == 0, "back to what guards asks nothing"
    assert gateway.get("/api/shop/echo").status == 401
    done = portico("rollback")
    assert done.exit_code == 1
    assert "not rolled back: this lets more requests through than now" in done.stderr


def test_somebody_else_was_faster(gateway: Gateway, portico: Portico) -> None:
    """C34: the second is told what the first has changed, and nothing is lost."""
    seen = portico.tag()
    assert portico("apply", faster(21, "mine.yaml"), "--if-match", seen).exit_code == 0
    Path("yours.yaml").write_text(Path("now.yaml").read_text() + "\n# and more\n")
    done = portico("apply", "yours.yaml", "--if-match", seen)
    assert done.exit_code == 1
    first, *rest = done.stderr.splitlines()
    assert first.startswith("portico: nothing was applied: ")
    assert rest[0] == "changed meanwhile:"
    assert rest[1].startswith("    ~ service shop (")
    assert "→ 21" in rest[2]
    assert rest[-1] == "portico plan yours.yaml shows what is left to apply"
    assert "timeout: 21" in gateway.file.read_text()


def test_the_file_of_the_gateway_may_be_changed_in_its_place(gateway: Gateway, portico: Portico) -> None:
    faster(31, str(gateway.file))
    before = portico.generation()
    assert portico("plan", str(gateway.file)).exit_code == 2
    done = portico("apply", str(gateway.file))
    assert done.exit_code == 0, done.output
    assert portico.generation() == before + 1


def test_what_is_on_disk_and_not_in_force_is_not_lost(gateway: Gateway, portico: Portico) -> None:
    other = faster(41, "other.yaml")
    faster(42, str(gateway.file))
    done = portico("apply", other)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("portico reload takes over what is on disk")
    assert "timeout: 42" in gateway.file.read_text()
    assert (
        ask(
            gateway.admin_port,
            "POST",
            "/admin/reload",
            "Host: localhost",
            "Authorization: Bearer a-token-of-the-admin-api",
        ).status
        == 200
    )


def test_history_and_the_way_back(gateway: Gateway, portico: Portico) -> None:
    assert portico("apply", faster(51), "--why", "we try 51").exit_code == 0
    number = json.loads(portico("history", "--json").stdout)["entries"][0]["number"]
    lines = portico("history").stdout.splitlines()
    assert lines[0].split() == ["when", "by", "what", "changes", "why"]
    assert re.fullmatch(rf"\* {number} +\S+ \S+ +admin \(\S+@\S+\) +apply +1 changed +we try 51 *", lines[1])
    assert not any(line.startswith("*") for line in lines[2:])
    assert len(portico("history", "-n", "1").stdout.splitlines()) == 2

    told = portico("history", str(number)).stdout.splitlines()
    assert re.fullmatch(rf"{number}: apply by admin \(.*\), .*, applied: we try 51", told[0])
    assert told[-1] == "1 change: 1 changed"
    assert "timeout: 51" in portico("history", str(number), "--text").stdout

    done = portico("rollback", "--why", "51 is too much")
    assert done.exit_code == 0
    assert "timeout.response: 51 → " in done.stdout
    assert "timeout: 51" not in gateway.file.read_text()
    assert portico("rollback", str(number)).exit_code == 0
    assert "timeout: 51" in gateway.file.read_text()


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("plan", "wrong.yaml"), 1, 'wrong.yaml:2:10: services.shop.urll: unknown key; did you mean "url"?'),
        (("apply", "wrong.yaml"), 1, 'wrong.yaml:2:10: services.shop.urll: unknown key; did you mean "url"?'),
        (("plan", "none.yaml"), 1, "none.yaml: there is no such file"),
        (("apply", "none.yaml"), 1, "none.yaml: there is no such file"),
        (("rollback", "9999"), 1, "the history has no configuration 9999"),
        (("history", "9999"), 1, "the history has no entry 9999"),
        (("rollback", "0"), 2, "Usage: "),
        (("history", "--text"), 2, "--text needs the number of one: portico history N --text"),
        (("apply",), 2, "Missing argument 'FILE'"),
    ],
)
def test_what_cannot_be_done(portico: Portico, command: tuple[str, ...], code: int, words: str) -> None:
    Path("wrong.yaml").write_text("services:\n  shop: {urll: 'http://127.0.0.1:1'}\n")
    before = portico.generation()
    done = portico(*command)
    assert done.exit_code == code
    assert words in done.stderr
    assert portico.generation() == before


def test_standard_input(portico: Portico) -> None:
    done = portico("plan", "-", typed=Path(faster(61)).read_text())
    assert done.exit_code == 2
    assert done.stdout.startswith("~ service shop (-:")


def test_a_token_that_only_reads_plans_and_applies_nothing(portico: Portico, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "a-token-that-only-reads")
    assert portico("plan", faster(71)).exit_code == 2
    for command in (("apply", "new.yaml"), ("rollback", "1")):
        done = portico(*command)
        assert done.exit_code == 1
        assert "the token of ann may read and not write" in done.stderr


def test_a_token_that_is_none(portico: Portico, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "not-the-token")
    for command in (("apply", faster(71)), ("rollback",), ("history",), ("dump",), ("plan", "new.yaml")):
        done = portico(*command)
        assert done.exit_code == 1
        assert "refuses the token: set ADMIN_TOKEN to the gateway's own" in done.stderr
