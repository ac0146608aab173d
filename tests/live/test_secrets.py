"""Secrets stay where they are: a gateway with every kind of them, and all that it says, searched for each."""

from __future__ import annotations

import secrets
import stat
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

import pytest

from portico.core.api_keys import digest_of, new_key
from portico.net.redis.connection import connect_sync
from support.backend import Backend, Connection, Refusing
from support.client import ask
from support.passwords import hashed
from support.portico import run_portico
from support.redis_servers import RedisServer
from support.tokens import bearer, token
from support.world import Gateway

SECRETS: Final = {
    name: f"{name}-{secrets.token_hex(24)}"
    for name in ("jwt", "identity", "admin", "redis", "sticky", "service", "plugin", "plain", "short", "introspection")
}
GOOD: Final = token(SECRETS["jwt"])
EXPIRED: Final = token(SECRETS["jwt"], exp=1)
FORGED: Final = token("another key of which nobody but its owner knows", sub="mallory")
PASSWORD: Final = secrets.token_hex(12)
KEY: Final = new_key()
PRESENTED: Final = {
    "token": GOOD,
    "expired token": EXPIRED,
    "forged token": FORGED,
    "name and password": b64encode(f"alice:{PASSWORD}".encode()).decode(),
    "wrong password": b64encode(f"alice:{PASSWORD}x".encode()).decode(),
    "password": PASSWORD,
    "api key": KEY.text,
}
"""What clients show: of a token, its signature is enough to use it again."""
PLUGIN: Final = """
from pydantic import SecretStr
from portico.plugin import Policy, Settings


class Breaks(Policy):
    class Settings(Settings):
        key: SecretStr
        plain: str

    def request(self, exchange):
        if exchange.path.endswith("/breaks"):
            raise RuntimeError("a policy that raises") from ValueError(str(self.settings.key))
"""


def serve(connection: Connection) -> None:
    while (asked := connection.next_request()) is not None:
        status = "500 Oh" if asked.target.endswith("/fails") else "200 OK"
        connection.answer(b"hello", status, "Cache-Control: max-age=60")


def _route(name: str, auth: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "service": "own", "path": f"/{name}", "policies": {"auth": auth}}


def config(own: Backend, dead: str, directory: Path) -> dict[str, Any]:
    asked = {"url": f"{dead}/introspect", "client_id": "gateway", "client_secret": SECRETS["introspection"]}
    routes = [
        {"name": "dead", "service": "dead", "path": "/dead"},
        {
            "name": "query",
            "service": "own",
            "path": "/query",
            "policies": {"auth": {"jwt": {"from": [{"query": "token"}]}}},
        },
        {
            "name": "cookie",
            "service": "own",
            "path": "/cookie",
            "policies": {"auth": {"jwt": {"from": [{"cookie": "token"}]}}},
        },
        _route("keys", {"jwt": False, "api_key": {"header": "X-API-Key"}}),
        _route("passwords", {"jwt": False, "basic": {}}),
        _route("opaque", {"jwt": False, "introspection": asked}),
    ]
    return {
        "gateway": {
            "tokens": {},
            "redis_url": f"${{file:{directory}/redis}}",
            "log": {"level": "DEBUG", "format": "json"},
        },
        "services": {
            "own": {"url": own.url, "health_check": False, "sticky": {"cookie": "auto", "key": SECRETS["sticky"]}},
            "dead": {"url": dead, "health_check": {"path": "/", "interval": "100ms"}, "retries": 0},
        },
        "routes": routes,
        "policies": {
            "auth": {"jwt": {"secret": f"${{file:{directory}/jwt}}"}},
            "identity": {},
            "cache": {"store": "redis"},
            "rate_limit": {"requests_per_minute": 6000, "burst": 6000},
            "headers": {"request": {"set": {"Authorization": "Bearer {env.SERVICE_TOKEN}"}}},
            "plugins": [
                {"use": "./own.py:Breaks", "with": {"key": SECRETS["plugin"], "plain": f"${{file:{directory}/plain}}"}}
            ],
        },
        "consumers": [
            {"name": "alice", "password": hashed(PASSWORD), "keys": [f"sha256:{digest_of(KEY.text.encode()).hex()}"]}
        ],
    }


class Said:
    """All that was said, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def note(self, where: str, text: object) -> None:
        self.texts[f"{len(self.texts)} {where}"] = str(text)

    def having(self, secret: str) -> list[str]:
        return [where for where, text in self.texts.items() if secret in text]


def _requests(gateway: Gateway, said: Said) -> None:
    shown = {name: bearer(value) for name, value in PRESENTED.items()} | {
        "basic": f"Authorization: Basic {PRESENTED['name and password']}",
        "wrong": f"Authorization: Basic {PRESENTED['wrong password']}",
        "key": f"X-API-Key: {KEY.text}",
        "mistyped": f"X-API-Key: {KEY.text}x",
    }
    for name, line in {**shown, "nothing": "X-A: b"}.items():
        for path in (
            "/api/own/a",
            "/api/own/fails",
            "/api/own/breaks",
            "/dead/x",
            "/nowhere",
            *("/keys/a", "/passwords/a", "/opaque/a", "/keys/breaks", "/passwords/breaks"),
            f"/api/own/{name.replace(' ', '-')}",
        ):
            said.note(f"{name} {path}", gateway.get(path, line))
    for name, value in PRESENTED.items():
        for target in (f"/query/a?token={value}", f"/query/breaks?a=b&token={value}", f"/api/own/a?token={value}"):
            said.note(f"{name} in a query", gateway.get(target))
        said.note(f"{name} in a cookie", gateway.get("/cookie/a", f"Cookie: a=b; token={value}"))
    form = "Content-Type: application/x-www-form-urlencoded"
    for more in ("x", "&scope=none", "&grant_type=refresh_token", f"&refresh_token={GOOD}", "&client_id=bob"):
        body = f"grant_type=password&username=alice&password={PASSWORD}{more}".encode()
        if (answer := gateway.ask("POST", "/auth/token", form, body=body)).status != 200:
            said.note("a refused sign-in", answer)
    said.note("too many fields", gateway.get("/api/own/a", bearer(GOOD), *(f"X-{n}: 1" for n in range(200))))
    said.note("a bad field", gateway.get("/api/own/a", bearer(GOOD), "X A: b"))
    for path in ("/", "/health", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json"):
        said.note(path, gateway.get(path))


def _administration(gateway: Gateway, said: Said) -> None:
    for path in ("services", "status", "canaries", "cache", "registry", "metrics", "config", "health"):
        for lines in ([f"Authorization: Bearer {SECRETS['admin']}"], ["Authorization: Bearer wrong"], []):
            said.note(f"/admin/{path}", ask(gateway.admin_port, "GET", f"/admin/{path}", "Host: localhost", *lines))


def _commands(gateway: Gateway, said: Said, env: dict[str, str]) -> None:
    admin = ["--admin", f"127.0.0.1:{gateway.admin_port}"]
    for arguments in (["check"], ["routes"], ["services", *admin], ["status", *admin], ["reload", *admin], ["schema"]):
        own = [] if arguments == ["schema"] else ["--config", str(gateway.file)]
        done = run_portico(*arguments, *own, **env)
        assert done.returncode < 2, done  # 1: an instance is down
        said.note(f"portico {arguments[0]}", done.stdout + done.stderr)


def _refused_reloads(gateway: Gateway, said: Said, env: dict[str, str], directory: Path) -> None:
    """Secrets that are wrong are not repeated by what says so."""
    for name, text in (
        ("jwt", SECRETS["short"][:20]),
        ("jwt", f"{SECRETS['jwt']}\nand more"),
        ("redis", f"http://{SECRETS['redis']}"),
    ):
        file = directory / name
        kept = file.read_text()
        file.write_text(text)
        try:
            done = run_portico("check", "--config", str(gateway.file), **env)
            assert done.returncode == 1, name
            said.note("a refused check", done.stdout + done.stderr)
            line = f"Authorization: Bearer {SECRETS['admin']}"
            answer = ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost", line)
            assert answer.status == 422
            said.note("a refused reload", answer)
        finally:
            file.write_text(kept)


def _names_in(url: str) -> list[bytes | str]:
    client = connect_sync(url, timeout=5, decode=False)
    try:
        return list(client.keys("*"))
    finally:
        client.close()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Said:
    directory, said = tmp_path_factory.mktemp("secrets"), Said()
    with RedisServer(requirepass=SECRETS["redis"]) as redis, Backend(serve) as own, Refusing() as dead:
        url = redis.url.replace("redis://", f"redis://:{SECRETS['redis']}@")
        for name, text in (("jwt", SECRETS["jwt"]), ("redis", url), ("plain", SECRETS["plain"])):
            (directory / name).write_text(f"{text}\n")
        env = {
            "IDENTITY_KEYS": SECRETS["identity"],
            "ADMIN_TOKEN": SECRETS["admin"],
            "SERVICE_TOKEN": SECRETS["service"],
        }
        gateway = Gateway(config(own, dead.url, directory), env=env)
        gateway.clean = False  # a policy that raises is reported
        (gateway.directory / "own.py").write_text(PLUGIN)
        with gateway:
            gateway.wait_for_control()
            _requests(gateway, said)
            _administration(gateway, said)
            _commands(gateway, said, env)
            _refused_reloads(gateway, said, env, directory)
            lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in [gateway.running.pid, *gateway.family()]]
            said.note("the command lines of its processes", lines)
            said.note("the names in Redis", _names_in(url))
            private = [path for path in gateway.directory.rglob("*") if path.is_dir() and "portico" in path.name]
            assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in private), private
            gateway.stop()
            said.note("its events and its access log", gateway.output())
    return said


def test_what_is_searched_has_all_there_is(said: Said) -> None:
    """A search of nothing would find nothing."""
    everything = "\n".join(said.texts.values())
    for text in (
        "a policy that raises",
        "credentials_invalid",
        "credentials_expired",
        "instance down",
        "policy_failed",
    ):
        assert text in everything, text
    assert '"path":"/query/a"' in everything
    assert "gateway_requests_total" in everything
    assert len(said.texts) > 80


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_of_the_configuration_is_anywhere(said: Said, name: str) -> None:
    assert said.having(SECRETS[name].partition("-")[2][:20]) == []


@pytest.mark.parametrize("name", PRESENTED)
def test_no_credentials_of_clients_are_anywhere(said: Said, name: str) -> None:
    assert said.having(PRESENTED[name].rpartition(".")[2][-40:]) == []


def test_no_hash_of_a_password_or_key_is_anywhere(said: Said) -> None:
    assert said.having("$argon2") == []
    assert said.having(digest_of(KEY.text.encode()).hex()) == []


def test_each_kind_of_credentials_was_right_once(said: Said) -> None:
    """What is refused at once may say less."""
    for where in ("token /api/own/a", "key /keys/a", "basic /passwords/a", "token in a query", "token in a cookie"):
        answers = [text for name, text in said.texts.items() if name.partition(" ")[2] == where]
        assert any("HTTP/1.1 200" in text for text in answers), where
