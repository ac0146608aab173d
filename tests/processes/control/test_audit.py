"""What is kept of requests that change something."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from portico.config import load_text
from portico.config.admin import Caller
from portico.core.api_keys import new_key
from portico.processes.control import audit as audit_module
from portico.processes.control.admin.audited import Audited
from portico.processes.control.admin.guard import Guard
from portico.processes.control.audit import Audit
from portico.processes.control.audit_file import AuditEntry
from portico.processes.ipc.runtime import Runtime

KEEP = 50
CALLERS = ((b"of-ada", Caller("ada")), (b"of-ops", Caller("ops", can_write=False)))


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    return opened(tmp_path, monkeypatch)


def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr(audit_module, "KEEP", KEEP)
    monkeypatch.setattr(audit_module, "_MOST_REFUSED", KEEP // 5)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    runtime = tmp_path / "runtime"
    runtime.mkdir(exist_ok=True)
    audit = Audit(Runtime(runtime), None)
    audit.follow(load_text("services: {s: {url: http://h}}", "portico.yaml", {}))
    return audit


def ask(
    audit: Audit, method: str = "POST", path: str = "/admin/reload", token: str = "of-ada", *, status: int = 200,
    client: str = "127.0.0.1", note: tuple[str, ...] = (), user: str = "",
) -> None:  # fmt: skip
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if note:
            audit.record(Request(scope), *note)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None: ...

    fields = {"host": "localhost", "authorization": f"Bearer {token}", "x-portico-user": user}
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items() if value]
    scope: dict[str, Any] = {
        "type": "http", "method": method, "path": path, "scheme": "http", "headers": headers, "client": (client, 1),
    }  # fmt: skip
    guard = Guard(app, lambda: CALLERS, is_local=True)
    asyncio.run(Audited(guard, audit)(scope, receive, send))


def entries(audit: Audit) -> list[AuditEntry]:
    return [*audit.newest()]


def test_who_did_what_and_what_came_of_it(audit: Audit) -> None:
    ask(audit, user="ann@build-1")
    ask(audit, "PUT", "/admin/config", status=412)
    ask(audit, note=("drain", "shop http://10.0.0.1:80"))
    found = [(each.caller, each.user, each.action, each.what, each.status, each.result) for each in entries(audit)]
    assert found == [
        ("ada", "", "drain", "shop http://10.0.0.1:80", 200, "done"),
        ("ada", "", "PUT", "/admin/config", 412, "failed"),
        ("ada", "ann@build-1", "POST", "/admin/reload", 200, "done"),
    ]


def test_reading_leaves_no_entry(audit: Audit) -> None:
    ask(audit, "GET", "/admin/services")
    ask(audit, "HEAD", "/admin/services")
    ask(audit, "POST", "/admin/config/plan")
    ask(audit, "POST", "/admin/registry/shop/1/heartbeat", status=204)
    assert entries(audit) == []


def test_who_is_refused_is_in_it(audit: Audit) -> None:
    ask(audit, token="of-ops")
    ask(audit, "POST", "/admin/registry/shop/1/heartbeat", token="wrong")
    ask(audit, token="wrong")
    wrong, read_only = entries(audit)
    assert (read_only.caller, read_only.status, read_only.result) == ("ops", 403, "refused")
    assert (wrong.caller, wrong.status, wrong.times) == ("", 401, 2)
    assert wrong.until >= wrong.at


def test_no_secret_is_in_it(audit: Audit, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ask(audit, token="hunter2")
    ask(audit, path="/admin/config")
    kept = "".join(file.read_text() for file in (tmp_path / "state").rglob("*.audit.json"))
    assert "/admin/config" in kept
    for token in ("hunter2", "of-ada"):
        assert token not in kept
        assert token not in caplog.text
        assert not any(token in str(vars(record)) for record in caplog.records)


def test_it_outlasts_the_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(tmp_path, monkeypatch)
    ask(first)
    ask(first, "DELETE", "/admin/limits")
    first.close()
    (file,) = (tmp_path / "state").rglob("*.audit.json")
    with file.open("ab") as torn:
        torn.write(b'{"at": 1.0, "calle')
    second = opened(tmp_path, monkeypatch)
    assert [each.action for each in entries(second)] == ["DELETE", "POST"]
    ask(second, "PUT", "/admin/config")
    second.close()
    assert [each.action for each in entries(opened(tmp_path, monkeypatch))] == ["PUT", "DELETE", "POST"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_it_is_bounded(audit: Audit, tmp_path: Path) -> None:
    for number in range(2 * KEEP + 10):
        ask(audit, path=f"/admin/x/{number}")
    assert len(entries(audit)) == KEEP
    (file,) = (tmp_path / "state").rglob("*.audit.json")
    lines = [json.loads(line) for line in file.read_text().splitlines() if line]
    assert len(lines) <= 2 * KEEP
    assert lines[-1]["what"] == f"/admin/x/{2 * KEEP + 9}"


def test_strangers_do_not_push_out_what_others_did(audit: Audit) -> None:
    ask(audit)
    for number in range(KEEP + 50):
        ask(audit, token="wrong", client=f"10.0.{number // 250}.{number % 250}")
    found = entries(audit)
    assert found[-1].caller == "ada"
    assert len(found) < KEEP / 2


def test_a_key_that_is_named_by_all_of_it_is_cut(audit: Audit) -> None:
    key = new_key()
    ask(audit, path=f"/admin/keys/{key.text}/revoke")
    (entry,) = entries(audit)
    assert entry.what == f"/admin/keys/portico_{key.id}/revoke"


def test_a_program_that_may_not_and_tries_on_is_one_entry(audit: Audit) -> None:
    """Such as a service that registers with a token to read."""
    ask(audit)
    for _ in range(KEEP):
        for number in range(3):
            ask(audit, path=f"/admin/registry/shop/{number}/heartbeat", token="of-ops")
    assert [each.times for each in entries(audit)] == [KEEP] * 3 + [1]


def test_texts_of_clients_are_one_short_line(audit: Audit) -> None:
    ask(audit, path="/admin/\n{}\x1b[2J" + "x" * 1000, user="a\tb" + "c" * 1000)
    (entry,) = entries(audit)
    assert entry.what.startswith("/admin/?{}?[2J")
    assert len(entry.what) == len(entry.user) == 200
