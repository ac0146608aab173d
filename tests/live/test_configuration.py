"""The configuration over the admin API: two who edit at once, hostile bodies, disks that are full, files that break."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend
from support.client import Wire, ask
from support.messages import Message
from support.portico import run_portico
from support.world import Gateway, until

JSON = "Content-Type: application/json"
YAML = "Content-Type: application/yaml"
LOCAL = "Host: localhost"


@pytest.fixture(scope="module")
def echo() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def shared(echo: Backend) -> Iterator[Gateway]:
    """A gateway with two workers and secrets, for tests that leave it as it was."""
    gateway = {
        "workers": 2,
        "admin_tokens": [
            {"name": "ada", "token": "token-of-ada", "access": "write"},
            {"name": "eve", "token": "token-of-eve"},
        ],
    }
    policies = {"auth": {"jwt": {"secret": "a-secret-of-more-than-thirty-two-bytes"}, "optional": True}}
    with Gateway({"gateway": gateway, "services": {"echo": echo}, "policies": policies}) as own:
        own.wait_for_control()
        yield own


ADA = "Authorization: Bearer token-of-ada"
EVE = "Authorization: Bearer token-of-eve"


def admin(gateway: Gateway, method: str, path: str = "", *lines: str, body: bytes | None = None) -> Message:
    return ask(gateway.admin_port, method, f"/admin/config{path}", LOCAL, *lines, body=body)


def document(gateway: Gateway, *lines: str) -> tuple[dict[str, Any], str]:
    answer = admin(gateway, "GET", "", *lines)
    assert answer.status == 200, answer.body
    return answer.json(), answer.get("etag") or ""


def put(gateway: Gateway, new: dict[str, Any], tag: str, *lines: str, query: str = "") -> Message:
    return admin(gateway, "PUT", query, JSON, f"If-Match: {tag}", *lines, body=json.dumps(new).encode())


def entries(gateway: Gateway, *lines: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = admin(gateway, "GET", "/history", *lines).json()["entries"]
    return found


def with_service(gateway: Gateway, name: str, echo: Backend) -> tuple[dict[str, Any], str]:
    new, tag = document(gateway)
    new["services"][name] = {"url": echo.url, "health_check": False}
    return new, tag


# ---- what is shown


def test_it_is_shown_without_secrets_and_comes_back_without_a_change(shared: Gateway) -> None:
    new, tag = document(shared, ADA)
    text = admin(shared, "GET", "?form=file", ADA)
    for shown in (json.dumps(new), text.body.decode()):
        assert not [each for each in ("token-of", "a-secret-of") if each in shown]
    assert new["gateway"]["limits"]["header_count"] == 100
    assert text.get("content-type") == "application/yaml"
    assert text.get("etag") not in (tag, None)
    before = shared.file.read_bytes(), shared.file.stat().st_mtime_ns
    for answer in (
        put(shared, new, tag, ADA),
        put(shared, new, text.get("etag") or "", ADA),
        admin(shared, "PUT", "", YAML, f"If-Match: {tag}", ADA, body=text.body),
        admin(shared, "POST", "/apply", YAML, "If-Match: *", ADA, body=shared.file.read_bytes() + b"# more\n"),
    ):
        assert (answer.status, answer.json()["changes"], answer.json()["generation"]) == (200, [], 1), answer.body
        assert answer.get("portico-generation") == "1"
    assert (shared.file.read_bytes(), shared.file.stat().st_mtime_ns) == before
    assert len(entries(shared, ADA)) == 1


def test_yaml_is_for_those_who_ask_for_it(shared: Gateway) -> None:
    assert b"workers: 2" in admin(shared, "GET", "", "Accept: application/yaml", ADA).body
    for accept in ("*/*", "text/html, */*;q=0.8", "application/json, application/yaml"):
        assert admin(shared, "GET", "", f"Accept: {accept}", ADA).get("content-type") == "application/json"
    assert admin(shared, "GET", "?form=xml", ADA).status == 400


def test_who_may_only_read_may_try_but_has_nothing_looked_up_and_changes_nothing(shared: Gateway) -> None:
    new, tag = document(shared, EVE)
    assert put(shared, new, tag, EVE).status == 403
    assert admin(shared, "POST", "/rollback", "If-Match: *", EVE).status == 403
    assert admin(shared, "POST", "/plan", JSON, EVE, body=json.dumps(new).encode()).json()["changes"] == []
    new["gateway"]["title"] = "${HOME}"
    for path in ("/plan", "/validate"):
        answer = admin(shared, "POST", path, JSON, EVE, body=json.dumps(new).encode())
        assert (answer.status, os.environ["HOME"] in answer.body.decode()) == (403, False)
    new["gateway"]["tls"] = {"certificate": "/etc/passwd", "key": "/etc/nothing-here"}
    answer = admin(shared, "POST", "/plan", JSON, EVE, body=json.dumps(new).encode())
    assert (answer.status, "PEM" in answer.body.decode()) == (403, False), "not even whether a file is there"
    del new["gateway"]["tls"]
    title = admin(shared, "POST", "/plan", JSON, ADA, body=json.dumps(new).encode()).json()["changes"]
    assert title[0]["what"] == "gateway"


# ---- bodies


def test_what_is_wrong_is_said_with_its_place(shared: Gateway) -> None:
    body = b"services:\n  echo: {uri: http://localhost:1}\n"
    answer = admin(shared, "POST", "/validate?name=new.yaml", YAML, ADA, body=body)
    page = answer.json()
    assert (answer.status, page["valid"]) == (422, False)
    first = page["problems"][0]
    assert (first["file"], first["line"], first["column"], first["key"]) == ("new.yaml", 2, 10, "services.echo.uri")
    assert "new.yaml:2:10: services.echo.uri" in page["detail"]
    warned = admin(shared, "POST", "/validate", YAML, ADA, body=b"services: {a: {url: 'http://localhost:1'}}\n").json()
    assert (warned["valid"], isinstance(warned["warnings"], list)) == (True, True)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/yaml", b"a: \xff", 422),
        ("application/yaml", "services: {}".encode("utf-16"), 422),
        ("application/yaml", b"a: \0", 422),
        ("application/yaml; charset=iso-8859-1", b"services: {}", 415),
        ("application/x-www-form-urlencoded", b"services: {}", 415),
        ("application/json", b'{"services": ' + b"[" * 50_000, 422),
        ("application/yaml", b"{a: " * 50_000, 422),
        ("application/yaml", b"a: &a [x,x,x,x]\n" + b"".join(
            b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 110)
        ), 422),
        ("application/yaml", b"services: {a: {url: http://localhost:1}}\n" + b"#" * (17 << 20), 413),
        ("application/json", b"", 422),
        ("application/yaml", b"", 422),
        ("application/yaml", b"services: {}", 422),
    ],
    ids=range(12),
)  # fmt: skip
def test_hostile_bodies_change_nothing(shared: Gateway, kind: str, body: bytes, status: int) -> None:
    answer = admin(shared, "PUT", "", f"Content-Type: {kind}", "If-Match: *", ADA, body=body)
    assert answer.status == status, answer.body
    assert answer.get("content-type") == "application/problem+json"
    assert admin(shared, "GET", "", ADA).get("portico-generation") == "1"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ((), 428),
        (('If-Match: "somebody-else"',), 412),
        (("If-Match: W/{tag}",), 412),
        (("If-Match: garbage",), 400),
        (('If-Match: "x"', "If-Match: {tag}"), 200),
        (("If-Match: *",), 200),
    ],
)
def test_if_match_says_what_was_seen(shared: Gateway, line: tuple[str, ...], status: int) -> None:
    new, tag = document(shared, ADA)
    lines = [each.format(tag=tag) for each in line]
    answer = admin(shared, "PUT", "?dry_run=1", JSON, ADA, *lines, body=json.dumps(new).encode())
    assert answer.status == status, answer.body
    if status == 412:
        assert answer.json()["current"] == tag


def test_a_document_that_is_cut_off_changes_nothing(shared: Gateway) -> None:
    with Wire(shared.admin_port) as wire:
        head = (
            "PUT /admin/config HTTP/1.1",
            LOCAL,
            ADA,
            YAML,
            "If-Match: *",
            "Content-Length: 1000",
            "",
            "services: {}",
        )
        wire.send("\r\n".join(head).encode())
    assert admin(shared, "GET", "", ADA).get("portico-generation") == "1"


# ---- two at once


def test_of_two_who_apply_at_once_one_comes_through_and_nothing_is_lost(echo: Backend) -> None:
    with Gateway({"gateway": {"workers": 2, "embedded_redis": True}, "services": {"echo": echo}}) as gateway:
        gateway.wait_for_control()
        documents = [with_service(gateway, name, echo) for name in ("one", "two", "three", "four")]
        answers: list[Message] = []
        ready = threading.Barrier(len(documents))

        def apply(new: dict[str, Any], tag: str) -> None:
            ready.wait()
            answers.append(put(gateway, new, tag))

        threads = [threading.Thread(target=apply, args=each) for each in documents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status for answer in answers) == [200, 412, 412, 412]
        won = next(answer.json() for answer in answers if answer.status == 200)
        (service,) = {*document(gateway)[0]["services"]} - {"echo"}
        for answer in answers:
            if answer.status == 412:
                page = answer.json()
                assert page["current"] == won["etag"]
                changed = [change["what"] for change in page["changes"]]
                assert changed == [f"service {service}", f"route {service}"], "and nothing that nobody has changed"
        assert gateway.get(f"/api/{service}/x").status == 200
        again, tag = with_service(gateway, "later", echo)
        assert put(gateway, again, tag).json()["generation"] == 3
        assert service in gateway.file.read_text()


def test_who_edits_the_file_meanwhile_loses_nothing(echo: Backend) -> None:
    with Gateway({"services": {"echo": echo}}) as gateway:
        gateway.wait_for_control()
        new, tag = with_service(gateway, "one", echo)
        edited = gateway.file.read_text() + "# somebody's note\n"
        gateway.file.write_text(edited)
        answer = put(gateway, new, tag)
        assert (answer.status, "changed it on disk" in answer.json()["detail"]) == (412, True)
        assert gateway.file.read_text() == edited
        assert put(gateway, new, answer.json()["current"], query="?dry_run=1").status == 200
        answer = admin(gateway, "PUT", "", YAML, f"If-Match: {tag}", body=edited.encode())
        assert (answer.status, answer.json()["changes"]) == (200, []), "who sends what is there has seen it"
        assert put(gateway, *with_service(gateway, "one", echo)).status == 200


def test_what_is_in_force_is_written_over_a_file_that_says_something_else(echo: Backend) -> None:
    with Gateway({"services": {"echo": echo}}) as gateway:
        gateway.wait_for_control()
        text = admin(gateway, "GET", "?form=file").body
        for other in ("services: {", "services: {other: {url: 'http://127.0.0.1:1', health_check: false}}\n"):
            gateway.file.write_text(other)
            answer = admin(gateway, "PUT", "", YAML, "If-Match: *", body=text)
            assert (answer.status, answer.json()["number"]) == (200, None), answer.body
            assert gateway.file.read_bytes() == text
        assert admin(gateway, "PUT", "?dry_run=1", YAML, "If-Match: *", body=text).status == 200
        entries = ask(gateway.admin_port, "GET", "/admin/audit", LOCAL).json()["entries"]
        assert [each["result"] for each in entries] == ["only tried", "no changes", "no changes"]
        commented = text + b"# a note\n"
        gateway.file.write_bytes(commented)
        new, _ = document(gateway)
        assert put(gateway, new, "*").status == 200
        assert gateway.file.read_bytes() == commented, "it means what is in force: it is left as it is"


def test_who_edits_the_file_while_another_is_read_loses_nothing(echo: Backend) -> None:
    code = """\
from pathlib import Path
from portico.plugin import Policy
file = Path(__file__).with_name(NAME)
if "note" not in file.read_text():
    file.write_text(file.read_text() + "# somebody's note\\n")
class Passes(Policy):
    pass
"""
    with Gateway({"services": {"echo": echo}}) as gateway:
        gateway.wait_for_control()
        gateway.file.with_name("passes.py").write_text(code.replace("NAME", repr(gateway.file.name)))
        new, tag = document(gateway)
        before = gateway.file.read_text()
        new["policies"] = {"plugins": [{"use": "./passes.py:Passes"}]}
        answer = put(gateway, new, tag)
        assert (answer.status, gateway.file.read_text()) == (412, before + "# somebody's note\n"), answer.body
        assert gateway.get("/api/echo/x").status == 200


def test_an_included_file_that_came_or_went_is_taken_over_by_a_reload_alone(echo: Backend) -> None:
    with Gateway({"include": ["more-*.yaml"], "services": {"echo": echo}}) as gateway:
        gateway.wait_for_control()
        more = gateway.file.with_name("more-1.yaml")
        more.write_text(f"services: {{more: {{url: '{echo.url}', health_check: false}}}}\n")
        new, tag = with_service(gateway, "one", echo)
        answer = put(gateway, new, tag)
        assert (answer.status, answer.json().get("files")) == (412, [str(more)]), answer.body
        gateway.reload()
        more.unlink()
        assert put(gateway, *with_service(gateway, "one", echo)).status in (412, 422)
        gateway.reload()
        assert put(gateway, *with_service(gateway, "one", echo)).status == 200
        assert {*document(gateway)[0]["services"]} == {"echo", "one"}


# ---- history and rollback


def test_rollback_leads_to_what_was_there_before_byte_for_byte(echo: Backend) -> None:
    with Gateway({"services": {"echo": echo}}) as gateway:
        gateway.wait_for_control()
        first = gateway.file.read_bytes()
        new, tag = with_service(gateway, "one", echo)
        assert put(gateway, new, tag, "X-Portico-User: ada@desk", query="?why=a+new+one").status == 200
        second = gateway.file.read_bytes()
        gateway.file.write_bytes(second + b"# by hand\n")
        gateway.reload()
        found = entries(gateway)
        assert [(each["action"], each["generation"], each["changes"]) for each in found] == [
            ("reload", 3, 0),
            ("apply", 2, 2),
            ("start", 1, 0),
        ]
        assert (found[1]["user"], found[1]["why"], found[1]["who"]) == ("ada@desk", "a new one", "local")
        shown = admin(gateway, "GET", "/history/2").json()
        assert (shown["text"], shown["changes"][0]["what"]) == (second.decode(), "service one")
        answer = admin(gateway, "POST", "/rollback", "If-Match: *", body=b'{"to": 1, "why": "it was worse"}')
        assert (answer.status, answer.json()["to"], answer.json()["generation"]) == (200, 1, 4), answer.body
        assert gateway.file.read_bytes() == first
        assert gateway.get("/api/one/x").status == 404
        for body, status in ((b'{"to": 99}', 404), (b'{"too": 1}', 422), (b"[", 422)):
            assert admin(gateway, "POST", "/rollback", "If-Match: *", body=body).status == status
        assert admin(gateway, "POST", "/rollback").status == 428
        assert admin(gateway, "GET", "/history/99").status == 404
        answer = admin(gateway, "POST", "/rollback", "If-Match: *")
        assert (answer.status, gateway.get("/api/one/x").status) == (200, 200), "and back again"


def test_rollback_says_what_it_cannot_restore(echo: Backend) -> None:
    services = {"echo": echo}
    with Gateway({"include": ["more-*.yaml"], "services": services}) as gateway:
        gateway.wait_for_control()
        more = gateway.file.with_name("more-1.yaml")
        more.write_text(f"services: {{more: {{url: '{echo.url}', health_check: false}}}}\n")
        gateway.reload()
        assert put(gateway, *with_service(gateway, "one", echo)).status == 200
        assert "include:" in gateway.file.read_text()
        assert "more:" not in gateway.file.read_text()
        more.write_text(more.read_text().replace("more:", "less:"))
        answer = put(gateway, *with_service(gateway, "two", echo))
        assert (answer.status, "more-1.yaml has been changed on disk" in answer.json()["detail"]) == (412, True)
        gateway.reload()
        answer = admin(gateway, "POST", "/rollback", "If-Match: *", body=b'{"to": 1}')
        assert answer.status == 200, answer.body
        assert any("more-1.yaml" in note for note in answer.json()["notes"])
        assert {*document(gateway)[0]["services"]} == {"echo", "less"}


# ---- what goes wrong


def test_a_file_that_cannot_be_written_and_a_full_disk_change_nothing(echo: Backend) -> None:
    with Gateway({"services": {"echo": echo}}) as gateway:
        gateway.wait_for_control()
        new, tag = with_service(gateway, "one", echo)
        before = gateway.file.read_bytes()
        gateway.file.chmod(0o444)
        answer = put(gateway, new, tag)
        assert (answer.status, "read-only" in answer.json()["detail"]) == (409, True)
        gateway.file.chmod(0o644)
        control = gateway.control()
        limits = resource.prlimit(control, resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
        large = before.replace(b"services:", b"services:\n  one: {url: 'http://localhost:1'}") + b"#" * (1 << 17)
        answer = admin(gateway, "PUT", "", YAML, f"If-Match: {tag}", body=large)
        assert (answer.status, "cannot be written" in answer.json()["detail"]) == (507, True)
        resource.prlimit(control, resource.RLIMIT_FSIZE, limits)
        assert gateway.file.read_bytes() == before
        assert len(entries(gateway)) == 1
        assert put(gateway, new, tag).status == 200
        gateway.clean = False  # what could not be written was said


def test_a_policy_that_no_worker_can_open_changes_nothing(echo: Backend) -> None:
    code = "from portico.plugin import Policy\nclass Never(Policy):\n    async def open(self): raise ValueError('no')\n"
    with Gateway({"gateway": {"workers": 2}, "services": {"echo": echo}}) as gateway:
        gateway.wait_for_control()
        gateway.file.with_name("never.py").write_text(code)
        new, tag = document(gateway)
        before = gateway.file.read_bytes()
        new["policies"] = {"plugins": [{"use": "./never.py:Never"}]}
        answer = put(gateway, new, tag)
        assert (answer.status, "Never" in answer.json()["detail"]) == (422, True), answer.body
        assert (gateway.file.read_bytes(), document(gateway)[1]) == (before, tag)
        assert gateway.get("/api/echo/x").status == 200
        gateway.clean = False  # the error was wanted


def test_a_broken_file_at_the_start_and_what_was_last_in_force(echo: Backend) -> None:
    with Gateway({"services": {"echo": echo}}) as gateway:
        gateway.wait_for_control()
        assert put(gateway, *with_service(gateway, "one", echo)).status == 200
        good = gateway.file.read_bytes()
        gateway.stop()
        broken = good[: len(good) // 2] + b"\n  : ["
        gateway.file.write_bytes(broken)
        gateway._arguments = ("run", "--resume")
        gateway.clean = False  # that the file is wrong is said as an error
        gateway.port = 0
        gateway.start()
        gateway.wait_for_control()
        assert gateway.get("/api/one/x").status == 200
        assert gateway.file.read_bytes() == broken
        assert "is wrong and is left alone" in gateway.err()
        assert f"{gateway.file}:" in status(gateway)["refused"]
        assert b"gateway_config_refused 1.0" in gateway.get("/metrics").body
        os.kill(gateway.control(), signal.SIGKILL)
        until(lambda: b"gateway_config_refused 1.0" in gateway.get("/metrics").body, "also another process knows it")
        new, tag = with_service(gateway, "two", echo)
        answer = put(gateway, new, tag)
        assert (answer.status, gateway.file.read_bytes()) == (412, broken), "the file is another one than is in force"
        assert put(gateway, new, answer.json()["current"]).status == 200
        assert gateway.get("/api/two/x").status == 200
        assert status(gateway)["refused"] is None
        assert [each["action"] for each in entries(gateway)] == ["apply", "apply", "start"]


def status(gateway: Gateway) -> dict[str, Any]:
    page: dict[str, Any] = ask(gateway.admin_port, "GET", "/admin/status", LOCAL).json()
    return page


def test_without_a_history_a_broken_file_ends_the_start(tmp_path: Path) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text("services: [\n")
    done = run_portico("run", "--resume", "--config", str(file), XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 1
    assert f"{file}:" in done.stderr
    assert "--resume found nothing that was in force" in done.stderr
    assert file.read_text() == "services: [\n"
