"""Policies of one's own in a whole gateway: their code, their life, and what a failure of theirs costs."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import ask
from support.messages import Message
from support.metrics import metric, page
from support.portico import run_portico
from support.world import Gateway, until

HEAD = "from portico.plugin import Policy, Settings, answer, refuse\n"
WORKERS = 3


class Site:
    """A gateway of several workers before a service that answers `/slow` when it is told to."""

    def __init__(self, gateway: Gateway, backend: Backend, go: threading.Event) -> None:
        self.gateway = gateway
        self.backend = backend
        self.go = go

    def write(self, name: str, text: str) -> None:
        (self.gateway.directory / name).write_text(HEAD + dedent(text))

    def reload(self, *plugins: Any, **more: Any) -> Message:
        self.gateway.write(configuration(self.backend, *plugins, **more))
        return ask(self.gateway.admin_port, "POST", "/admin/reload", "Host: localhost")

    def use(self, *plugins: Any, **more: Any) -> None:
        answer = self.reload(*plugins, **more)
        assert answer.status == 200, answer.body

    def seen(self, event: str, **more: str) -> list[dict[str, Any]]:
        """The events that are this one."""
        found = [each for each in self.gateway.events() if each["event"] == event]
        return [each for each in found if all(each.get(key) == value for key, value in more.items())]


def configuration(backend: Backend, *plugins: Any, **more: Any) -> dict[str, Any]:
    return {
        "gateway": {"workers": WORKERS},
        "services": {"a": backend, **more.pop("services", {})},
        "policies": {"rate_limit": False, "plugins": [*plugins]},
        **more,
    }


def when_told(go: threading.Event) -> Any:
    def script(connection: Connection) -> None:
        while (request := connection.next_request()) is not None:
            if request.target == "/slow":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
                assert go.wait(30)
                connection.send(b"b")
            else:
                connection.answer(b"ok")

    return script


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    go = threading.Event()
    with Backend(when_told(go)) as backend, Gateway(configuration(backend)) as gateway:
        gateway.wait_for_control()
        gateway.clean = False  # many of these policies fail
        yield Site(gateway, backend, go)


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    running.go.clear()
    yield running
    running.go.set()


VERSION = """
from beside import VALUE

class P(Policy):
    own = {own}

    def request(self, exchange):
        {statement}
        return answer(200, f"{{self.own}}-{{VALUE}}", {{"X-V": str(self.own)}})
"""


def write_version(site: Site, number: int, statement: str = "pass") -> None:
    site.write("p.py", VERSION.format(own=number, statement=statement))
    site.write("beside.py", f"VALUE = {number}\n")


def test_a_changed_file_is_in_use_in_every_worker_once_the_reload_is_over(site: Site) -> None:
    """Apisix issue 878: what is kept open, and what is new, meets only the new code."""
    write_version(site, 1)
    site.use({"use": "./p.py:P"})
    kept = [site.gateway.wire() for _ in range(24)]
    try:
        for number, statement in ((2, "pass"), (3, "raise LookupError(self.own)"), (4, "pass")):
            write_version(site, number, statement)
            site.use({"use": "./p.py:P"})
            answers: Counter[tuple[int, bytes]] = Counter()
            for index in range(300):
                message = kept[index % len(kept)].ask("GET", "/api/a/x") if index % 2 else site.gateway.get("/api/a/x")
                answers[message.status, message.body if message.status == 200 else b""] += 1
            assert answers == {(500, b""): 300} if number == 3 else {(200, b"%d-%d" % (number, number)): 300}
    finally:
        for wire in kept:
            wire.close()
    failed = site.seen("a policy's hook failed", policy="P", hook="request")
    assert 1 <= len(failed) <= WORKERS
    assert "LookupError: 3" in failed[0]["traceback"]
    assert metric(site.gateway, "gateway_policy_errors_total", policy="P", hook="request", kind="exception") == 300
    done = run_portico("status", "--admin", f"127.0.0.1:{site.gateway.admin_port}")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("worker-")]
    assert len(rows) == WORKERS
    assert len({row[1] for row in rows}) == 1
    assert "policy ./p.py:P (gateway)" in done.stdout


def test_a_failure_names_the_policy_to_the_client(site: Site) -> None:
    site.write("raises.py", "class Broken(Policy):\n    def request(self, exchange):\n        raise OSError\n")
    site.use({"use": "./raises.py:Broken"})
    answer = site.gateway.get("/api/a/x")
    assert (answer.status, answer.json()["reason"], answer.json()["policy"]) == (500, "policy_failed", "Broken")
    site.use({"use": "./raises.py:Broken", "on_error": "skip"})
    assert site.gateway.get("/api/a/x").status == 200


def test_what_cannot_be_imported_changes_nothing(site: Site) -> None:
    write_version(site, 1)
    site.use({"use": "./p.py:P"})
    site.write("beside.py", "VALUE = undefined\n")
    answer = site.reload({"use": "./p.py:P"})
    assert answer.status == 422
    assert (
        "./p.py cannot be imported: NameError: name 'undefined' is not defined (beside.py, line 2)"
        in answer.json()["detail"]
    )
    for _ in range(12):
        assert site.gateway.get("/api/a/x").body == b"1-1"


def test_a_worker_that_is_started_again_runs_what_the_others_run(site: Site) -> None:
    write_version(site, 5)
    site.use({"use": "./p.py:P"})
    write_version(site, 6, "this is no Python")
    victim = site.gateway.workers()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(site.gateway.workers()) == WORKERS and victim not in site.gateway.workers(), "another worker")
    assert {site.gateway.get("/api/a/x").body for _ in range(60)} == {b"5-5"}


OPENED = """
class Opened(Policy):
    class Settings(Settings):
        name: str
        fails: bool = False

    async def open(self):
        self.context.log.info("opened", extra={"own": self.settings.name})
        if self.settings.fails:
            raise ConnectionError("no such host")

    async def close(self):
        self.context.log.info("closed", extra={"own": self.settings.name})

    def response(self, exchange, head):
        head.headers.set("X-Own", self.settings.name)
"""


def opened(name: str, **more: Any) -> dict[str, Any]:
    return {"use": "./opened.py:Opened", "with": {"name": name, **more}}


def test_one_that_does_not_open_refuses_the_reload_and_all_stays_as_it_was(site: Site) -> None:
    site.write("opened.py", OPENED)
    site.use(opened("old"))
    until(lambda: len(site.seen("opened", own="old", policy="Opened")) == WORKERS, "all workers have opened it")
    generation = ask(site.gateway.admin_port, "GET", "/admin/status", "Host: localhost").json()["generation"]
    answer = site.reload(opened("good"), opened("bad", fails=True))
    assert answer.status == 422
    assert answer.json()["detail"] == "./opened.py:Opened (gateway): open() raised ConnectionError: no such host"
    status = ask(site.gateway.admin_port, "GET", "/admin/status", "Host: localhost").json()
    assert (status["generation"], status["refused"]) == (generation, answer.json()["detail"])
    until(lambda: len(site.seen("closed", own="good")) == WORKERS, "those that were open are closed")
    assert not site.seen("closed", own="bad")
    assert not site.seen("closed", own="old")
    assert site.seen("a policy's open() failed", policy="Opened")
    assert site.gateway.get("/api/a/x").get("x-own") == "old"
    site.use(opened("new"))
    until(lambda: len(site.seen("closed", own="old")) == WORKERS, "replaced ones are closed")
    assert not site.seen("closed", own="new")


def test_it_is_closed_after_its_last_exchange(site: Site) -> None:
    """An idle connection that it has served does not count; a response that still comes does."""
    site.write("opened.py", OPENED)
    site.use(opened("slow"))
    with site.gateway.wire() as idle, site.gateway.wire() as slow:
        assert idle.ask("GET", "/api/a/x").status == 200
        slow.send(b"GET /api/a/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert slow.file.readline().startswith(b"HTTP/1.1 200")
        site.use(opened("next"))
        until(lambda: len(site.seen("closed", own="slow")) == WORKERS - 1, "where nothing runs it is closed at once")
        assert idle.ask("GET", "/api/a/x").get("x-own") == "next"
        assert len(site.seen("closed", own="slow")) == WORKERS - 1
        site.go.set()
        until(lambda: len(site.seen("closed", own="slow")) == WORKERS, "then it is closed")


def test_one_that_is_reached_late_is_not_closed_before(site: Site) -> None:
    """The request that waits in a policy before it still meets the one that is open."""
    site.write(
        "late.py",
        """
        import asyncio
        from pathlib import Path

        class Waits(Policy):
            class Settings(Settings):
                file: str

            async def request(self, exchange):
                self.context.log.info("waits")
                while not Path(self.settings.file).exists():
                    await asyncio.sleep(0.01)

        class Last(Policy):
            is_open = True

            async def close(self):
                self.is_open = False
                self.context.log.info("last one closed")

            def request(self, exchange):
                return answer(200, str(self.is_open))
        """,
    )
    file = site.gateway.directory / "go"
    plugins = {"use": "./late.py:Waits", "timeout": "20s", "with": {"file": str(file)}}, {"use": "./late.py:Last"}
    site.use(*plugins)
    with site.gateway.wire() as wire:
        wire.send(b"GET /api/a/x HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: site.seen("waits"), "it waits")
        site.use(*plugins)
        until(lambda: len(site.seen("last one closed")) == WORKERS - 1, "those of the other workers are closed")
        file.touch()
        assert wire.receive().body == b"True"
    until(lambda: len(site.seen("last one closed")) == WORKERS, "and is closed after that")


def test_state_goes_on_from_one_reload_to_the_next(site: Site) -> None:
    site.write(
        "counts.py",
        """
        class Counts(Policy):
            def request(self, exchange):
                self.context.state["seen"] = self.context.state.get("seen", 0) + 1
                return answer(200, str(self.context.state["seen"]))
        """,
    )
    both = [{"use": "./counts.py:Counts"}]
    more: dict[str, Any] = {"routes": [{"path": "/own", "service": "a", "policies": {"plugins": both}}]}
    site.use(*both, **more)
    with site.gateway.wire() as wire:  # one worker
        assert [wire.ask("GET", "/api/a/x").body for _ in range(2)] == [b"1", b"2"]
        assert wire.ask("GET", "/own").body == b"1"
        site.write("counts.py", (site.gateway.directory / "counts.py").read_text().removeprefix(HEAD) + "\n# edited\n")
        site.use(*both, **more)
        assert wire.ask("GET", "/api/a/x").body == b"3"
        assert wire.ask("GET", "/own").body == b"2"
        site.use()
        site.use(*both, **more)
        assert wire.ask("GET", "/api/a/x").body == b"1", "what no configuration uses is forgotten"


def test_metrics_of_all_workers_add_up_and_outlive_reloads_and_workers(site: Site) -> None:
    site.write(
        "metered.py",
        """
        class Metered(Policy):
            async def open(self):
                self.seen = self.context.metrics.counter("own_seen", "Requests that were seen", ["method"])
                self.sizes = self.context.metrics.histogram("own_sizes", "Lengths of paths", buckets=[5, 50])

            def request(self, exchange):
                self.seen.inc(method=exchange.method)
                self.sizes.observe(len(exchange.path))
        """,
    )
    site.use({"use": "./metered.py:Metered"})

    def count() -> float | None:
        return metric(site.gateway, "own_seen_total", method="GET")

    for _ in range(30):
        assert site.gateway.get("/api/a/x").status == 200
    assert count() == 30
    assert metric(site.gateway, "own_sizes_count") == 30
    assert metric(site.gateway, "own_sizes_bucket", le="50.0") == 30
    site.use({"use": "./metered.py:Metered"})
    for _ in range(10):
        site.gateway.get("/api/a/x")
    assert count() == 40
    victim = site.gateway.workers()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(site.gateway.workers()) == WORKERS and victim not in site.gateway.workers(), "another worker")
    assert count() == 40
    site.use()
    assert count() == 40, "what was counted stays"


def test_metrics_that_do_not_fit_refuse_the_reload(site: Site) -> None:
    site.write(
        "misfit.py",
        """
        class Misfit(Policy):
            async def open(self):
                self.context.metrics.counter("gateway_requests", "Not its own")
        """,
    )
    answer = site.reload({"use": "./misfit.py:Misfit"})
    assert answer.status == 422
    assert "open() raised ValueError: 'gateway_requests' is no name of a metric" in answer.json()["detail"]


HANGS = """
import asyncio

class Hangs(Policy):
    async def request(self, exchange):
        self.context.log.info("begins")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.context.log.info("is cancelled")
            raise
"""


def test_an_async_hook_has_its_time_and_ends_with_its_client(site: Site) -> None:
    site.write("hangs.py", HANGS)
    site.use({"use": "./hangs.py:Hangs"})
    answer = site.gateway.get("/api/a/x")
    assert (answer.status, answer.json()["reason"], answer.json()["policy"]) == (500, "policy_failed", "Hangs")
    (event,) = site.seen("a policy's hook came to no end within 1 s")
    assert (event["policy"], event["hook"]) == ("Hangs", "request")
    until(lambda: len(site.seen("is cancelled")) == 1, "its task ends")
    site.use({"use": "./hangs.py:Hangs", "timeout": "50ms", "on_error": "skip"})
    assert site.gateway.get("/api/a/x").status == 200
    site.use({"use": "./hangs.py:Hangs", "timeout": "1m"})
    begun, cancelled = len(site.seen("begins")), len(site.seen("is cancelled"))
    with site.gateway.wire() as wire:
        wire.send(b"GET /api/a/x HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: len(site.seen("begins")) == begun + 1, "it waits")
        wire.reset()
    until(lambda: len(site.seen("is cancelled")) == cancelled + 1, "it is not waited for any more")
    errors = {
        tuple(sorted(labels)): value
        for (name, labels), value in page(site.gateway).items()
        if name == "gateway_policy_errors_total"
    }
    assert errors['hook="request"', 'kind="timeout"', 'policy="Hangs"'] == 2


def test_a_hook_that_blocks_is_named(site: Site) -> None:
    site.write(
        "blocks.py",
        "import time\nclass Blocks(Policy):\n    def response(self, exchange, head):\n        time.sleep(0.08)\n",
    )
    site.use({"use": "./blocks.py:Blocks"})
    assert site.gateway.get("/api/a/x").status == 200
    (event,) = site.seen("a policy's hook blocked all requests of this worker")
    assert (event["policy"], event["hook"]) == ("Blocks", "response")
    assert int(event["milliseconds"]) >= 80


def test_its_place_in_the_order(site: Site) -> None:
    site.write(
        "notes.py",
        """
        class Notes(Policy):
            class Settings(Settings):
                name: str
                answers: bool = False

            def request(self, exchange):
                seen = exchange.state.setdefault("seen", [])
                seen.append(self.settings.name + (f" knows {exchange.consumer}" if exchange.consumer else ""))
                if self.settings.answers:
                    return answer(200, seen)
        """,
    )
    notes = "./notes.py:Notes"
    site.use(
        {"use": notes, "with": {"name": "last", "answers": True}},
        {"use": notes, "with": {"name": "before auth"}, "before": "auth"},
        {"use": notes, "with": {"name": "before limits"}, "before": "rate_limit"},
        {"use": notes, "with": {"name": "after cors"}, "after": "cors"},
        {"use": notes, "with": {"name": "after limits"}, "after": "rate_limit"},
    )
    assert site.gateway.get("/api/a/x").json() == ["after cors", "before limits", "before auth", "after limits", "last"]
    own = {"a": {"url": site.backend.url, "health_check": False, "policies": {"auth": {"jwt": {"secret": "s" * 32}}}}}
    site.use({"use": notes, "with": {"name": "first", "answers": True}, "before": "auth"}, services=own)
    assert site.gateway.get("/api/a/x").json() == ["first"]
    site.use({"use": notes, "with": {"name": "late", "answers": True}, "after": "auth"}, services=own)
    assert site.gateway.get("/api/a/x").status == 401


def test_own_endpoints_for_those_that_want_them(site: Site) -> None:
    site.write(
        "marks.py",
        """
        class Marks(Policy):
            own_endpoints = True

            def response(self, exchange, head):
                head.headers.add("X-Mark", "own")

        class Others(Policy):
            def response(self, exchange, head):
                head.headers.add("X-Mark", "others")
        """,
    )
    site.use({"use": "./marks.py:Marks"}, {"use": "./marks.py:Others"})
    assert site.gateway.get("/api/a/x").all("x-mark") == ["others", "own"]
    for path in ("/", "/metrics", "/health"):
        assert site.gateway.get(path).all("x-mark") == ["own"], path


def test_look_ups_by_the_workers_http_client(site: Site) -> None:
    site.write(
        "asks.py",
        """
        class Asks(Policy):
            class Settings(Settings):
                url: str

            async def request(self, exchange):
                found = await self.context.http.get(self.settings.url)
                return answer(200, found.text)
        """,
    )
    with Backend(name="other") as other:
        site.use({"use": "./asks.py:Asks", "with": {"url": f"{other.url}/x"}})
        with site.gateway.wire() as wire:
            for _ in range(3):
                assert wire.ask("GET", "/api/a/x").json()["backend"] == "other"
            site.use({"use": "./asks.py:Asks", "with": {"url": f"{other.url}/x"}})
            assert wire.ask("GET", "/api/a/x").status == 200
            assert len(other.connections) == 1
        site.use()


def test_what_one_prints_is_seen_at_once_and_is_no_line_of_the_access_log(site: Site) -> None:
    site.write(
        "prints.py",
        """
        print("imported")

        class Prints(Policy):
            def request(self, exchange):
                print("called")
        """,
    )
    site.use({"use": "./prints.py:Prints"})
    assert site.gateway.get("/api/a/x").status == 200
    until(lambda: "called\n" in site.gateway.err(), "it is printed")
    assert site.gateway.err().count("imported\n") == WORKERS + 1
    assert all(line.startswith("{") for line in site.gateway.out().splitlines())


def test_settings_stay_hidden(site: Site) -> None:
    site.write(
        "secret.py",
        """
        class S(Policy):
            class Settings(Settings):
                key: str
                n: int = 0

            def finished(self, exchange):
                pass
        """,
    )
    site.use({"use": "./secret.py:S", "with": {"key": "hunter2"}})
    assert site.reload({"use": "./secret.py:S", "with": {"key": "hunter2", "n": "x"}}).status == 422
    assert "hunter2" not in site.gateway.err()
    assert b"hunter2" not in ask(site.gateway.admin_port, "GET", "/admin/status", "Host: localhost").body


# ---- checking, starting and stopping


THREAD = """
import threading
threading.Thread(target=threading.Event().wait).start()

class P(Policy):
    pass
"""


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [(THREAD, 0, "ok: 1 service"), ("import os\nos._exit(0)\n", 1, "ended the process while they were imported")],
)
def test_a_check_ends_and_says_so_whatever_is_imported(tmp_path: Path, text: str, code: int, said: str) -> None:
    (tmp_path / "p.py").write_text(HEAD + text)
    file = tmp_path / "portico.yaml"
    file.write_text("{services: {a: {url: 'http://127.0.0.1:9'}}, policies: {plugins: [{use: './p.py:P'}]}}")
    done = run_portico("check", str(file))
    assert done.returncode == code
    assert said in done.stdout + done.stderr


def directory_of(gateway: Gateway, text: str) -> Path:
    (gateway.directory / "p.py").write_text(HEAD + dedent(text))
    return gateway.directory


def test_one_that_does_not_open_ends_the_start(backend: Backend) -> None:
    gateway = Gateway(configuration(backend, {"use": "./p.py:P"}), wait=False)
    directory_of(gateway, "class P(Policy):\n    async def open(self):\n        raise OSError('no disk')\n")
    with gateway:
        assert gateway.running.wait(30) == 1
        gateway.exit_code, gateway.clean = 1, False
        reasons = {event.get("reason") for event in gateway.events() if event["level"] == "ERROR"}
        assert "./p.py:P (gateway): open() raised OSError: no disk" in reasons


def test_threads_of_an_import_keep_no_gateway_from_starting_and_ending(backend: Backend) -> None:
    gateway = Gateway(configuration(backend, {"use": "./p.py:P"}))
    directory_of(gateway, THREAD)
    with gateway:
        assert gateway.get("/api/a/x").status == 200


def test_one_that_cannot_be_imported_ends_the_start_before_anything_listens(backend: Backend) -> None:
    gateway = Gateway(configuration(backend, {"use": "./p.py:P"}), wait=False)
    directory_of(gateway, "import no_such_module_at_all\n")
    with gateway:
        assert gateway.running.wait(30) == 1
        gateway.exit_code, gateway.clean = 1, False
        assert "policies.plugins[0].use: ./p.py cannot be imported: ModuleNotFoundError" in gateway.err()
        assert "listening" not in gateway.err()


def test_they_are_closed_after_the_drain_and_watched_files_are_enough_for_a_reload(backend: Backend) -> None:
    gateway = Gateway(
        {**configuration(backend, {"use": "./p.py:P"}), "gateway": {"workers": 1}}, command=("run", "--reload")
    )
    version = """
    class P(Policy):
        own = {}

        async def close(self):
            self.context.log.info("closed", extra={{"own": self.own}})

        def request(self, exchange):
            return answer(200, str(self.own))
    """
    directory_of(gateway, version.format(1))
    with gateway:
        gateway.wait_for_control()
        assert gateway.get("/api/a/x").body == b"1"
        directory_of(gateway, version.format(2))
        until(lambda: gateway.get("/api/a/x").body == b"2", "the edited file is in use")
        gateway.stop()
        assert [event["own"] for event in gateway.events() if event["event"] == "closed"] == ["1", "2"]
