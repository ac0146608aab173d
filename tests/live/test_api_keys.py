"""API keys as they are in use: made, used, narrowed, rotated and revoked, by commands and over the admin API."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from live.test_canary import admin
from portico.core.api_keys import PATTERN, digest_of
from support.backend import Backend, Connection
from support.client import request
from support.frames import TEXT
from support.messages import Message
from support.portico import run_portico
from support.process import free_port
from support.tokens import SECRET, bearer, token
from support.websocket import OFFER, WebSocket, echo
from support.world import Gateway, until

FILED = "a key of another system"
CONSUMERS: list[dict[str, Any]] = [
    {"name": "ann", "scopes": ["orders:read", "orders:write"]},
    {"name": "Łukasz", "keys": ["sha256:" + digest_of(FILED.encode()).hex()]},
    {"name": "gone"},
]


def config(service: Backend, consumers: list[dict[str, Any]] = CONSUMERS) -> dict[str, Any]:
    key: dict[str, Any] = {"api_key": {}}
    return {
        "gateway": {"workers": 2},
        "services": {"s": service},
        "routes": [
            {"service": "s", "path": "/keys", "policies": {"auth": key}},
            {"service": "s", "path": "/query", "policies": {"auth": {"api_key": {"query": "key"}}}},
            {"service": "s", "path": "/both", "policies": {"auth": {**key, "jwt": {"secret": SECRET}}}},
            {"service": "s", "path": "/write", "policies": {"auth": key, "authorize": {"scopes": ["orders:write"]}}},
            {"service": "s", "path": "/open", "policies": {"auth": {**key, "optional": True}}},
        ],
        "consumers": consumers,
    }


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    with Gateway(config(service)) as own:
        own.wait_for_control()
        yield own


def keys(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_portico("keys", *arguments, "--admin", f"127.0.0.1:{gateway.admin_port}")


def made(gateway: Gateway, consumer: str = "ann", **more: Any) -> str:
    answer = admin(gateway, "POST", "/admin/keys", {"consumer": consumer, **more})
    assert answer.status == 200, answer.body
    assert answer.get("cache-control") == "no-store"
    return str(answer.json()["secret"])


def id_of(key: str) -> str:
    found = re.fullmatch(PATTERN, key)
    assert found
    return found[1]


def revoke(gateway: Gateway, key: str) -> Message:
    return admin(gateway, "POST", f"/admin/keys/{id_of(key)}/revoke")


def shown(gateway: Gateway) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in admin(gateway, "GET", "/admin/keys").json()["keys"]}


def seen(answer: Message) -> dict[str, str]:
    """The fields that the service got."""
    assert answer.status == 200, answer.body
    return {name.lower(): value for name, value in answer.json()["fields"]}


def test_a_key_by_a_command_names_its_consumer_to_the_service(gateway: Gateway) -> None:
    done = keys(gateway, "create", "ann", "--scope", "orders:read", "--expires", "90d", "--note", "nightly job")
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert re.fullmatch(PATTERN, key)
    assert "a key of ann, until " in done.stderr
    assert "with the scopes orders:read" in done.stderr
    fields = seen(gateway.get("/keys/x", f"X-API-Key: {key}", "X-Consumer-Username: eve", "x_api_key: other"))
    assert (fields["x-consumer-username"], fields["x-consumer-scopes"]) == ("ann", "orders:read")
    assert not any("api" in name or key in value for name, value in fields.items()), "it is for the gateway alone"
    assert gateway.get("/write/x", f"X-API-Key: {key}").status == 403
    listed = keys(gateway, "list", "ann")
    assert f"portico_{id_of(key)}  ann       orders:read" in listed.stdout
    assert "nightly job" in listed.stdout
    assert key not in listed.stdout


def test_a_key_in_the_query_does_not_reach_the_service_nor_the_log(gateway: Gateway) -> None:
    key = made(gateway)
    answer = gateway.get(f"/query/x?a=1&key={key}&b=2")
    assert (answer.json()["target"], seen(answer)["x-consumer-username"]) == ("/x?a=1&b=2", "ann")
    missing = gateway.get("/query/x?a=1")
    assert (missing.status, missing.json()["detail"]) == (401, "send one API key, as '?key=KEY'")
    until(lambda: "/query/x" in gateway.out(), "it is in the log")
    assert key not in gateway.out() + gateway.err()


def test_requests_with_a_key_are_otherwise_as_they_were(gateway: Gateway) -> None:
    """Those that wait for 100, that have a long body, and those that change the protocol."""
    key = made(gateway)
    line, long = f"X-API-Key: {key}", b"x" * 300_000
    for lines, target in (([line], "/keys/x"), ([], f"/query/x?key={key}")):
        answer = gateway.ask("POST", target, *lines, body=long)
        assert (answer.status, answer.json()["length"]) == (200, len(long))
        with gateway.wire() as wire:
            length = f"Content-Length: {len(long)}"
            wire.send(request("POST", target, *lines, "Expect: 100-continue", length))
            assert wire.receive().status == 100
            wire.send(long)
            assert wire.receive().status == 200


def test_a_websocket_with_a_key() -> None:
    with Backend(echo) as service, Gateway(config(service)) as own:
        own.wait_for_control()
        key = made(own)
        assert own.get("/keys/x", *OFFER).status == 401
        for target, lines in (("/keys/x", [f"X-API-Key: {key}"]), (f"/query/x?key={key}", [])):
            with WebSocket(own.port, target, *lines) as client:
                client.say(TEXT, b"hello")
                frame = client.next_frame()
                assert frame is not None
                assert frame.payload == b"hello"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "credentials_missing"),
        (["X-API-Key:"], "credentials_invalid"),
        (["X-API-Key: \xff\xfe"], "credentials_invalid"),
        (["X-API-Key: " + "x" * 8000], "credentials_invalid"),
        (["X-API-Key: portico_AAAAAAAA_" + "B" * 38], "credentials_invalid"),
        (["X-API-Key: a", "X-API-Key: a"], "credentials_missing"),
        (["X_API_Key: a"], "credentials_missing"),
        (["Authorization: Bearer a"], "credentials_missing"),
    ],
)
def test_what_is_no_key_gets_401_and_how_to_do_better(gateway: Gateway, lines: list[str], reason: str) -> None:
    answer = gateway.get("/keys/x", *lines)
    assert (answer.status, answer.json()["reason"]) == (401, reason)
    assert answer.get("content-type") == "application/problem+json"
    assert str(answer.get("www-authenticate")).startswith('ApiKey realm="portico"')


def test_beside_tokens_the_first_that_is_shown_decides(gateway: Gateway) -> None:
    key = made(gateway)
    for lines, consumer in (
        ([f"X-API-Key: {key}"], "ann"),
        ([bearer(token(sub="tom"))], "tom"),
        ([bearer(token(sub="tom")), f"X-API-Key: {key}"], "tom"),
    ):
        fields = seen(gateway.get("/both/x", *lines))
        assert fields["x-consumer-username"] == consumer
        assert "x-api-key" not in fields
    assert gateway.get("/both/x", bearer(token()) + "x", f"X-API-Key: {key}").status == 401
    missing = gateway.get("/both/x")
    assert [value.partition(" ")[0] for value in missing.all("www-authenticate")] == ["Bearer", "ApiKey"]
    assert "x-consumer-username" not in seen(gateway.get("/open/x"))
    assert gateway.get("/open/x", "X-API-Key: a").status == 401


def test_a_key_of_the_file(gateway: Gateway) -> None:
    fields = seen(gateway.get("/keys/x", f"X-API-Key: {FILED}"))
    assert fields["x-consumer-username"] == "%C5%81ukasz"
    name = "sha256:" + digest_of(FILED.encode()).hex()[:8]
    until(lambda: shown(gateway)[name]["last_used"], "it was used")
    assert shown(gateway)[name]["from"] == "file"
    refused = admin(gateway, "POST", f"/admin/keys/{name}/revoke")
    assert (refused.status, refused.json()["detail"]) == (
        409,
        f"the key {name} is in the file: take it out of keys of its consumer, and reload",
    )


def test_a_revoked_key_ends_on_connections_that_know_it(gateway: Gateway) -> None:
    key, other = made(gateway), made(gateway)
    wires = [gateway.wire() for _ in range(8)]
    line = f"X-API-Key: {key}"
    assert [wire.ask("GET", "/keys/x", line).status for wire in wires for _ in range(3)] == [200] * 24
    done = keys(gateway, "revoke", key)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"portico_{id_of(key)} of ann is revoked, in the gateway at ")
    assert [wire.ask("GET", "/keys/x", line).status for wire in wires for _ in range(3)] == [401] * 24
    assert [wire.ask("GET", "/keys/x", f"X-API-Key: {other}").status for wire in wires] == [200] * 8
    for wire in wires:
        wire.close()
    assert revoke(gateway, key).status == 200, "once more does no harm"
    assert f"portico_{id_of(key)} " not in keys(gateway, "list").stdout
    assert re.search(rf"portico_{id_of(key)} .* revoked ", keys(gateway, "list", "--all").stdout)


def test_a_key_is_rotated(gateway: Gateway) -> None:
    old = made(gateway, scopes=["orders:read"], note="shop", expires_in="30d")
    done = keys(gateway, "rotate", id_of(old), "--overlap", "2s")
    assert done.returncode == 0, done.stderr
    new = done.stdout.strip()
    assert f"portico_{id_of(old)} holds until " in done.stderr
    for key in (old, new):
        assert seen(gateway.get("/keys/x", f"X-API-Key: {key}"))["x-consumer-scopes"] == "orders:read"
    expired = until(lambda: _refused(gateway, old), "the old one ends")
    assert expired == ("credentials_expired", "the API key has expired")
    assert seen(gateway.get("/keys/x", f"X-API-Key: {new}"))["x-consumer-username"] == "ann"
    about = shown(gateway)
    assert about[id_of(old)]["state"] == "expired"
    assert (about[id_of(new)]["note"], about[id_of(new)]["scopes"]) == ("shop", ["orders:read"])
    lifetime = about[id_of(new)]["expires"] - about[id_of(new)]["created"]
    assert lifetime == 30 * 86_400
    assert admin(gateway, "POST", f"/admin/keys/{id_of(old)}/rotate").status == 409
    at_once = admin(gateway, "POST", f"/admin/keys/{id_of(new)}/rotate", {"overlap": 0, "scopes": []}).json()
    assert at_once["replaces"]["state"] == "revoked"
    assert gateway.get("/keys/x", f"X-API-Key: {new}").status == 401
    assert "x-consumer-scopes" not in seen(gateway.get("/keys/x", f"X-API-Key: {at_once['secret']}"))


def _refused(gateway: Gateway, key: str) -> tuple[str, str] | None:
    answer = gateway.get("/keys/x", f"X-API-Key: {key}")
    return (answer.json()["reason"], answer.json()["detail"]) if answer.status == 401 else None


def test_when_a_key_was_used_last_is_shown(gateway: Gateway) -> None:
    key, before = made(gateway), int(time.time())
    assert shown(gateway)[id_of(key)]["last_used"] is None
    gateway.get("/keys/x", f"X-API-Key: {key}")
    used = until(lambda: shown(gateway)[id_of(key)]["last_used"], "a worker said so")
    assert before <= used <= time.time()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("POST", "", {"consumer": "anm"}, 422, "there is no anm under consumers; did you mean ann?"),
        ("POST", "", {"consumer": "zoe"}, 422, "there is no zoe under consumers: write it there first"),
        (
            "POST",
            "",
            {"consumer": "ann", "scopes": ["admin"]},
            422,
            "ann does not have the scope admin: a key has no more than its consumer",
        ),
        ("POST", "", {}, 422, "consumer: Field required"),
        ("POST", "", {"consumer": "ann", "expires": 1}, 422, "expires: Extra inputs are not permitted"),
        ("POST", "", {"consumer": "ann", "expires_in": "soon"}, 422, "expires_in: Value error, 'soon' is not a"),
        ("POST", "/AAAAAAAA/revoke", None, 404, "there is no key AAAAAAAA"),
        ("POST", "/AAAAAAAA/rotate", None, 404, "there is no key AAAAAAAA"),
    ],
)
def test_commands_that_cannot_be_done(
    gateway: Gateway, method: str, path: str, body: dict[str, Any] | None, status: int, detail: str
) -> None:
    answer = admin(gateway, method, f"/admin/keys{path}", body)
    assert answer.status == status
    assert answer.json()["detail"].startswith(detail)


def test_commands_that_are_written_wrong(gateway: Gateway) -> None:
    assert keys(gateway, "revoke", "x").returncode == 2
    assert keys(gateway, "create", "ann", "--expires", "soon").returncode == 2
    failed = keys(gateway, "create", "anm")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "portico: there is no anm under consumers; did you mean ann?\n"


def test_the_hash_for_the_file_needs_no_gateway() -> None:
    done = run_portico("keys", "hash", "--new")
    assert done.stdout.strip() == "sha256:" + digest_of(done.stderr.strip().encode()).hex()
    assert run_portico("keys", "hash").returncode == 2


def test_keys_outlast_a_restart_and_follow_their_consumers(service: Backend) -> None:
    with Gateway(config(service), port=free_port()) as one:
        one.wait_for_control()
        kept, revoked, orphan = made(one), made(one), made(one, "gone")
        one.get("/keys/x", f"X-API-Key: {kept}")
        until(lambda: shown(one)[id_of(kept)]["last_used"], "it was used")
        assert revoke(one, revoked).status == 200
        before = shown(one)
        (file,) = one.directory.glob("portico/*.keys.json")
        assert file.stat().st_mode & 0o077 == 0
        assert not any(key in file.read_text() for key in (kept, revoked, orphan)), "only hashes"
        one.stop()
        one.start()
        one.wait_for_control()
        lines = {key: f"X-API-Key: {key}" for key in (kept, revoked, orphan)}
        assert [one.get("/keys/x", line).status for line in lines.values()] == [200, 401, 200]
        assert shown(one)[id_of(revoked)] == before[id_of(revoked)]
        assert shown(one)[id_of(kept)]["last_used"] >= before[id_of(kept)]["last_used"]
        fewer = [{"name": "ann", "scopes": ["orders:read"]}]
        one.write(config(service, fewer))
        with one.wire() as wire:
            assert wire.ask("GET", "/keys/x", lines[orphan]).status == 200
            assert admin(one, "POST", "/admin/reload").status == 200
            assert wire.ask("GET", "/keys/x", lines[orphan]).status == 401
            assert seen(wire.ask("GET", "/keys/x", lines[kept]))["x-consumer-scopes"] == "orders:read"
        assert shown(one)[id_of(orphan)]["state"] == "without its consumer"
        assert one.get("/write/x", lines[kept]).status == 403


def test_a_file_that_cannot_be_read_is_said_and_refuses_nobody_for_good(service: Backend) -> None:
    with Gateway(config(service), port=free_port()) as one:
        one.wait_for_control()
        key = made(one)
        (file,) = one.directory.glob("portico/*.keys.json")
        one.stop()
        content = file.read_text()
        file.write_text("{")
        one.start()
        one.clean = False
        one.wait_for_control()
        refused = one.get("/keys/x", f"X-API-Key: {key}")
        assert (refused.status, refused.json()["reason"]) == (503, "keys_unavailable")
        assert one.get("/keys/x", f"X-API-Key: {FILED}").status == 200
        assert admin(one, "POST", "/admin/keys", {"consumer": "ann"}).status == 503
        assert "cannot be read" in admin(one, "GET", "/admin/status").json()["api_keys"]["problem"]
        file.write_text(content)
        assert admin(one, "POST", "/admin/reload").status == 200
        assert one.get("/keys/x", f"X-API-Key: {key}").status == 200
        assert json.loads(file.read_text())["keys"]


def _stored_for(connection: Connection) -> None:
    """Answers that may be stored, each with whom it is for."""
    while (asked := connection.next_request()) is not None:
        who = f"{asked.get('x-consumer-username')} {asked.get('x-consumer-scopes')}"
        connection.answer(who.encode(), "200 OK", "Cache-Control: max-age=60")


@pytest.mark.parametrize("target", ["/keys/x", "/query/x"])
def test_what_is_stored_for_one_key_is_for_none_with_less(target: str) -> None:
    with Backend(_stored_for) as service:
        written = config(service)
        written["policies"] = {"cache": {}}
        with Gateway(written) as own:
            own.wait_for_control()
            held = {
                "ann orders:read orders:write": made(own),
                "ann orders:read": made(own, scopes=["orders:read"]),
                "ann None": made(own, scopes=[]),
                "gone None": made(own, "gone"),
            }
            for _ in range(3):
                for who, key in held.items():
                    lines, query = ([f"X-API-Key: {key}"], "") if target == "/keys/x" else ([], f"?key={key}")
                    answer = own.get(target + query, *lines)
                    assert (answer.status, answer.body.decode()) == (200, who)
                assert own.get(target).status == 401
            key = held["ann None"]
            assert revoke(own, key).status == 200
            assert own.get(f"{target}?key={key}", f"X-API-Key: {key}").status == 401


BREAKS = """
from portico.plugin import Policy


class Breaks(Policy):
    def request(self, exchange):
        if exchange.path.endswith("/breaks"):
            raise RuntimeError(f"{exchange.headers.get_all('X-API-Key')} {exchange.query}")
"""


def test_a_key_is_nowhere_in_what_a_gateway_says_or_keeps(service: Backend) -> None:
    """Nor do users' policies get to see it: what they say of a request is theirs."""
    written = config(service)
    written["gateway"]["log"] = {"level": "DEBUG"}
    written["policies"] = {"plugins": [{"use": "./breaks.py:Breaks"}], "cache": {}}
    written["services"]["dead"] = {"url": "http://127.0.0.1:9", "health_check": False, "retries": 0}
    for path, where in (("/dead", {}), ("/dead-query", {"query": "key"})):
        written["routes"].append({"service": "dead", "path": path, "policies": {"auth": {"api_key": where}}})
    own = Gateway(written)
    own.clean = False  # a policy that raises is reported
    (own.directory / "breaks.py").write_text(BREAKS)
    with own:
        own.wait_for_control()
        key = made(own, note="a job")
        revoked = made(own)
        assert revoke(own, revoked).status == 200
        said = []
        for each in (key, revoked, key[:-1] + "!", FILED):
            fields, parameter = f"X-API-Key: {each}", f"?key={each.replace(' ', '%20')}&a=b"
            said += [own.get(path, fields) for path in ("/keys/x", "/keys/breaks", "/dead/x", "/nowhere")]
            for path in ("/query/x", "/query/breaks", "/dead-query/x", "/nowhere"):
                said += [own.get(path + parameter)]
        assert {answer.status for answer in said} >= {200, 401, 404, 500, 502}
        said += [own.get("/metrics"), *(admin(own, "GET", f"/admin/{path}") for path in ("keys", "status", "services"))]
        said.append(admin(own, "GET", f"/admin/cache/show?url=/query/x?key={key}"))
        shown_by_commands = keys(own, "list", "--all").stdout + keys(own, "revoke", key).stdout
        own.stop()
        kept = [path.read_bytes() for path in own.directory.rglob("*") if path.is_file()]
        everything = b"\n".join([*kept, *(answer.head + answer.body for answer in said[:-1])])
        everything += shown_by_commands.encode()
        assert b"a policy that raises" in everything or b"RuntimeError" in everything
        for secret in (key[17:40], revoked[17:40], FILED, FILED.replace(" ", "%20")):
            assert secret.encode() not in everything


def test_where_no_route_takes_keys_there_are_none(service: Backend) -> None:
    with Gateway({"services": {"s": service}}) as one:
        one.wait_for_control()
        answer = admin(one, "POST", "/admin/keys", {"consumer": "ann"})
        assert (answer.status, answer.json()["detail"][:24]) == (409, "no route takes API keys:")
        assert admin(one, "GET", "/admin/status").json()["api_keys"] is None
        assert not [*one.directory.glob("portico/*.keys.*")]
