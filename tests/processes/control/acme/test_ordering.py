"""Orders with an authority that does what authorities do now and then."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from portico.config import Config, load_text
from portico.processes.control.acme.certificates import Certificates
from portico.processes.control.acme.ordering import QUESTION
from portico.processes.control.acme.served import records_file
from portico.processes.control.workers import Workers
from portico.processes.ipc.runtime import Runtime
from support.acme_server import AcmeServer
from support.authority import Authority
from support.redis_servers import RedisServer

TIMEOUT = 60


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def acme(authority: Authority) -> Iterator[AcmeServer]:
    with AcmeServer(authority, authority.leaf("acme", "localhost")) as own:
        yield own


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as own:
        yield own


class Place:
    """A gateway without workers: its control process's part, and a port that answers as those would."""

    def __init__(self, directory: Path, name: str = "one") -> None:
        self.directory = directory / name
        self.runtime = Runtime(self.directory / "run")
        self.runtime.directory.mkdir(parents=True, exist_ok=True)
        self.workers = Workers()
        self.file = self.directory / "portico.yaml"
        self.made = Certificates(self.workers, self.runtime, self.file)

    def config(self, acme: AcmeServer, *names: str, **more: Any) -> Config:
        gateway = "".join(f"{key}: {value}, " for key, value in more.pop("gateway", {}).items())
        extra = "".join(f", {key}: {value}" for key, value in more.items())
        order = f"domains: [{', '.join(names or ('a.test',))}], terms_agreed: true, directory: {acme.directory}"
        text = f"{{{order}, ca_file: {acme.authority.ca}{extra}}}"
        return load_text(f"gateway: {{{gateway}state_dir: {self.directory}, tls: {{acme: {text}}}}}", "p.yaml", {})

    @asynccontextmanager
    async def following(self, config: Config, *asked_by: AcmeServer) -> AsyncIterator[Certificates]:
        place = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = place.workers.challenges()
                answer = found.answers.get(self.path.rpartition("/")[2]) if found is not None else None
                self.send_response(200 if answer else 404)
                self.end_headers()
                self.wfile.write((answer or "").encode())

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        for each in asked_by:
            each.asks_at.append(server.server_address[1])
        self.made.prepare(config)
        await self.made.follow(config)
        try:
            yield self.made
        finally:
            await self.made.close()
            server.shutdown()
            server.server_close()


def state(place: Place) -> dict[str, Any]:
    (found,) = place.made.states()
    return found


async def until(question: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not question():
            await asyncio.sleep(0.02)
    assert question(), what


def issued(place: Place) -> Callable[[], bool]:
    return lambda: state(place)["state"] == "valid" and not state(place)["ordering"]


def failed(place: Place) -> Callable[[], bool]:
    return lambda: "problem" in state(place)


def play(story: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(story(), TIMEOUT))


def test_nonces_that_are_not_accepted(acme: AcmeServer, tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        acme.bad_nonces = 4
        async with place.following(place.config(acme), acme):
            await until(issued(place), "asked again")

    play(story)


def test_an_account_of_a_customer(acme: AcmeServer, tmp_path: Path) -> None:
    async def story() -> None:
        key = b"a key that the authority gave"
        acme.eab = {"kid-7": key}
        binding = f"{{key_id: kid-7, hmac_key: {urlsafe_b64encode(key).decode()}}}"
        for name, eab, problem in (
            ("none", {}, "the authority wants accounts of its own customers: write eab"),
            ("wrong", {"eab": binding.replace("kid-7", "kid-8")}, "no customer signed this"),
        ):
            place = Place(tmp_path, name)
            async with place.following(place.config(acme, **eab)):
                await until(failed(place), "without it there is no account")
                assert state(place)["problem"] == problem
        place = Place(tmp_path, "right")
        async with place.following(place.config(acme, eab=binding, key_type="rsa2048", profile="shortlived"), acme):
            await until(issued(place), "with it there is one")
        assert [each.profile for each in acme.orders] == ["shortlived"]

    play(story)


@pytest.mark.parametrize("moment", ["account", "order", "orders", "proofs", "challenge", "finalize", "certificate"])
def test_an_order_is_taken_up_where_it_was_left(acme: AcmeServer, tmp_path: Path, moment: str) -> None:
    """The process ends right after the authority has been asked for that."""

    async def story() -> None:
        place = Place(tmp_path)
        async with place.following(place.config(acme), acme):
            await until(lambda: any(path.split("/")[1] == moment for _, path in acme.asked), "it has come so far")
            await until(lambda: not acme.is_asking(), "who asks for a proof right then gets it")
        acme.asks_at.clear()
        again = Place(tmp_path)
        async with again.following(again.config(acme), acme):
            await until(issued(again), "the next process ends it")
        assert len(acme.accounts) == 1
        assert acme.attempts == 1 or moment == "order", "a process may end before it knows where the order is"

    play(story)


def test_an_order_that_is_gone_is_begun_anew(acme: AcmeServer, tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        acme.finalize_takes = 600
        async with place.following(place.config(acme), acme):
            await until(lambda: acme.orders and acme.orders[0].finalized, "it is being finalized")
            acme.orders.clear()
            acme.finalize_takes = 0
            await until(issued(place), "another one is")
            assert len(acme.orders) == 1

    play(story)


def test_an_account_that_is_gone_is_made_anew(acme: AcmeServer, tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        async with place.following(place.config(acme, "a.test"), acme):
            await until(issued(place), "the first one")
            (thumbprint,) = acme.accounts
            acme.accounts.clear()
            await place.made.follow(place.config(acme, "b.test"))
            await until(issued(place), "the second one")
            assert [*acme.accounts] == [thumbprint], "with the same key"

    play(story)


def test_an_account_that_is_there_is_found_by_its_key(acme: AcmeServer, tmp_path: Path) -> None:
    """A process may end between the making of an account and its writing down."""

    async def story() -> None:
        place = Place(tmp_path)
        async with place.following(place.config(acme, "a.test"), acme):
            await until(issued(place), "the first one")
        path = records_file(place.config(acme), place.file)
        assert path is not None
        url = next(iter(acme.accounts.values())).url
        path.write_text(path.read_text().replace(url, ""))
        place = Place(tmp_path / "again")
        place.file = tmp_path / "one" / "portico.yaml"
        place.made = Certificates(place.workers, place.runtime, place.file)
        place.directory = tmp_path / "one"
        async with place.following(place.config(acme, "b.test"), acme):
            acme.asks_at = acme.asks_at[-1:]
            await until(issued(place), "the second one")
        assert len(acme.accounts) == 1

    play(story)


def test_names_that_lead_elsewhere(acme: AcmeServer, tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
            threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            acme.asks_at = [other.server_address[1]]
            async with place.following(place.config(acme, "elsewhere.test")):
                await until(failed(place), "the proof fails")
            other.shutdown()
        words = f"port {acme.asks_at[0]} answered 501 and not the key authorization"
        assert state(place)["problem"] == f"elsewhere.test: {words}"
        assert not state(place)["ordering"], "that order is over"

    play(story)


def test_what_an_authority_said_is_not_forgotten_with_the_names(acme: AcmeServer, tmp_path: Path) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        acme.limited = "3600"
        async with place.following(place.config(acme, "a.test"), acme) as made:
            await until(failed(place), "it is told to wait")
            acme.limited = None
            await made.follow(place.config(acme, "b.test"))
            await until(issued(place), "the other names have nothing to do with that")
            await made.follow(place.config(acme, "a.test"))
            assert state(place)["problem"] == "too many certificates already"
        assert acme.attempts == 2

    play(story)


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ("nothing", "what the authority sent is no certificate"),
        ("key", "the authority signed another key than ours"),
        ("much", "it sends more than 1048576 bytes"),
        ("short", "the certificate is at the end of its life already: is the clock of this machine right?"),
    ],
)
def test_a_certificate_that_cannot_be_used(acme: AcmeServer, tmp_path: Path, sent: str, problem: str) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        other = acme.authority.leaf("other", "a.test").certificate.read_text()
        sendings = {"nothing": lambda _: "<html>", "key": lambda _: other, "much": lambda _: "x" * (2 << 20)}
        acme.sent = sendings.get(sent, str)
        acme.life = 0.0 if sent == "short" else acme.life
        async with place.following(place.config(acme), acme):
            await until(failed(place), "it is refused")
            assert state(place)["problem"].endswith(problem)
            await asyncio.sleep(2.2)  # what does not happen: rounds in which it would be ordered again
            assert len(acme.orders) == 1

    play(story)


def test_a_directory_that_is_none(acme: AcmeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The event loop goes on while one hangs, and nothing waits for it at the end."""

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            place = Place(tmp_path)
            acme.directory = f"https://127.0.0.1:{silent.getsockname()[1]}/directory"
            async with place.following(place.config(acme)):
                connection, _ = await asyncio.to_thread(silent.accept)
            assert QUESTION in [each.name for each in threading.enumerate()], "it hangs still"
            connection.close()
        place = Place(tmp_path, "two")
        acme.directory = f"{acme.base}/nonce"
        async with place.following(place.config(acme)):
            await until(failed(place), "it is said")
            assert "sends what is no ACME" in state(place)["problem"]
            acme.violations.clear()
        place = Place(tmp_path, "three")
        acme.directory = f"https://127.0.0.1:{acme.port}/directory"
        async with place.following(place.config(acme)):
            await until(failed(place), "it is said")
            assert "certificate does not fit" in state(place)["problem"]

    with caplog.at_level(logging.WARNING, "portico.acme"):
        play(story)
    assert sum("there is no certificate yet" in each for each in caplog.messages) == 3, "each of them says so once"
    kinds = [getattr(each, "kind", None) for each in caplog.records if "could not be had" in each.message]
    assert kinds == ["unreachable", "unreachable"]


def test_what_is_kept_cannot_be_read(acme: AcmeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        place = Place(tmp_path)
        path = records_file(place.config(acme), place.file)
        assert path is not None
        path.write_bytes(b'{"accounts": 7}')
        async with place.following(place.config(acme), acme):
            await until(issued(place), "it is ordered anew")

    play(story)
    assert "certificates cannot be read: they are ordered anew" in caplog.messages


# ---- gateways that share a Redis


def shared(place: Place, acme: AcmeServer, redis: RedisServer, name: str) -> Config:
    return place.config(acme, name, gateway={"redis_url": redis.url})


def test_another_gateway_takes_an_order_up(acme: AcmeServer, redis: RedisServer, tmp_path: Path) -> None:
    async def story() -> None:
        one, other = Place(tmp_path, "one"), Place(tmp_path, "other")
        acme.finalize_takes = 600
        async with one.following(shared(one, acme, redis, "taken.test"), acme):
            await until(lambda: acme.orders and acme.orders[0].finalized, "one has begun")
        acme.orders[0].finalized = 1.0
        async with other.following(shared(other, acme, redis, "taken.test")):
            await until(issued(other), "the other one ends it")
        assert acme.attempts == 1
        assert len(acme.accounts) == 1

    play(story)


def test_what_an_authority_says_to_one_holds_for_all(acme: AcmeServer, redis: RedisServer, tmp_path: Path) -> None:
    async def story() -> None:
        one, other = Place(tmp_path, "one"), Place(tmp_path, "other")
        acme.limited = "3600"
        async with one.following(shared(one, acme, redis, "limited.test"), acme):
            await until(failed(one), "it is told to wait")
            async with other.following(shared(other, acme, redis, "limited.test"), acme):
                await until(failed(other), "so is the other one")
                assert state(other) == state(one)
        assert acme.attempts == 1

    play(story)


def test_a_redis_that_has_lost_everything(acme: AcmeServer, redis: RedisServer, tmp_path: Path) -> None:
    async def story() -> None:
        one, other = Place(tmp_path, "one"), Place(tmp_path, "other")
        async with one.following(shared(one, acme, redis, "lost.test"), acme):
            await until(issued(one), "there is one")
            redis.ask("FLUSHALL")
            async with other.following(shared(other, acme, redis, "lost.test")):
                await until(issued(other), "it is there again")
                assert state(other)["expires"] == state(one)["expires"]
        assert acme.attempts == 1

    play(story)


def test_while_redis_is_away_nothing_is_ordered(acme: AcmeServer, tmp_path: Path) -> None:
    async def story() -> None:
        with RedisServer() as redis:
            place = Place(tmp_path)
            redis.kill()
            async with place.following(shared(place, acme, redis, "away.test"), acme):
                await until(failed(place), "it is said")
                assert state(place)["problem"].startswith("Redis does not answer: ")
                assert acme.attempts == 0
                redis.start()
                await until(issued(place), "it is back")
                assert "problem" not in state(place)

    play(story)
