"""A gateway that is killed at any step of applying: what starts next has the old configuration or the new one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from portico import __version__
from portico.config import Config, load_config, with_source
from portico.core.slices import Steps
from portico.processes.control.configuration.cause import Cause
from portico.processes.control.configuration.configuration import Configuration
from portico.processes.control.configuration.errors import RefusedError
from portico.processes.control.configuration.history import Resolved
from portico.processes.control.configuration.proposed import Sent
from portico.processes.control.reloading import Reloading
from portico.processes.control.workers import LATE
from portico.processes.ipc.runtime import Listening, Runtime

OLD = "gateway: {admin: '127.0.0.1:0', port: 0}\nservices: {shop: {url: 'http://localhost:1'}}\n"
NEW = OLD.replace("localhost:1", "localhost:2").replace("shop", "bank") + "# " + "x" * 5000 + "\n"


class Workers:
    """One that takes over what it is sent, unless it says why not."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.used: list[Config] = []

    def keep_health(self, _: object) -> None:
        pass

    def publish(self, config: Config, generation: int) -> None:
        self.used.append(config)

    async def adoption(self, generation: int, timeout: float) -> dict[str, str]:
        problem, self.problem = self.problem, ""
        return {"worker-0": problem} if problem else {}


class Part:
    """A part of the control process, which follows."""

    registry = SimpleNamespace(admitted=lambda *_: [])

    async def follow(self, config: Config) -> None:
        pass

    def watching(self, config: Config) -> Steps[None]:
        yield from ()

    def prepare(self, config: Config) -> None:
        pass

    def states(self) -> dict[str, str]:
        return {}


class Control:
    """What of a control process has to do with the configuration: begun from what the one before has left."""

    def __init__(self, path: Path, runtime: Runtime, problem: str = "") -> None:
        config, generation = runtime.stored()
        self.workers = Workers(problem)
        parts = ("health", "discovery", "purges", "issuers", "api_keys", "canaries", "tokens", "certificates")
        self.state = SimpleNamespace(
            config=with_source(config, runtime.stored_source(generation)),
            generation=generation,
            config_path=path,
            workers=self.workers,
            listening=Listening,
            refused=None,
            telemetry=None,
            overrides=None,
            audit=SimpleNamespace(follow=lambda _: None),
            **dict.fromkeys((*parts, "documents"), Part()),
        )
        self.reloading = reloading = Reloading(
            cast(Any, self.state), runtime, cast(Any, SimpleNamespace(say=lambda _: None))
        )
        self.configuration = Configuration(cast(Any, self.state), reloading, runtime)

    def apply(self, text: str) -> int:
        """Have it applied, all that is to be done before and after included; the generation."""

        async def apply() -> int:
            self.configuration.begin()
            done = await self.configuration.apply(Sent(text), ["*"], Cause("apply", "ada"))
            await self.configuration.history()
            return done.generation

        return asyncio.run(apply())

    def begin(self) -> list[tuple[str, str, str]]:
        """Finish what was begun; the history then: action, state and who."""

        async def begin() -> list[tuple[str, str, str]]:
            self.configuration.begin()
            return [(each.action, each.state, each.who) for each in await self.configuration.history()]

        found = asyncio.run(begin())
        self.configuration.close()
        return found


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "portico.yaml"


def started(path: Path, text: str) -> Runtime:
    """What the supervisor leaves for a control process to begin with."""
    if not path.exists():
        path.write_text(text)
    runtime = Runtime(Path(tempfile.mkdtemp(dir=path.parent)))
    runtime.store(load_config(path, os.environ), 1)
    return runtime


def killed_at(step: int, do: Callable[[], object]) -> bool:
    """Do something in a process that is killed before its `step`th change of anything on disk; whether it was."""
    child = os.fork()
    if not child:
        try:
            left = [step]

            def watch(event: str, arguments: tuple[Any, ...]) -> None:
                writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
                if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.chmod", "os.chown", "os.truncate"):
                    left[0] -= 1
                    if not left[0]:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(watch)
            do()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def applied(path: Path, runtime: Runtime) -> None:
    Control(path, runtime).apply(NEW)


def test_at_every_step_of_applying(path: Path) -> None:
    steps, found = 0, set()
    while True:
        steps += 1
        path.unlink(missing_ok=True)
        for left in path.parent.rglob("*.json"):
            left.unlink()
        runtime = started(path, OLD)
        was_killed = killed_at(steps, partial(applied, path, runtime))
        on_disk = path.read_text()
        assert on_disk in (OLD, NEW)
        again = Control(path, runtime)  # the control process alone is started again
        entries = again.begin()
        text = again.state.config.source.text
        assert text == path.read_text() == on_disk, "what is in the file is in force"
        assert ("apply" in {action for action, state, _ in entries if state == "applied"}) == (text == NEW)
        assert "pending" not in {state for _, state, _ in entries}
        assert {who for action, _, who in entries if action == "apply"} <= {"ada"}
        whole = Control(path, started(path, OLD))  # all of the gateway is
        assert whole.state.config.source.text == on_disk
        assert whole.begin() == entries, "nothing new has come into force"
        found.add(text)
        if not was_killed:
            break
    assert steps > 8
    assert found == {OLD, NEW}
    assert not [each.name for each in path.parent.glob(".*")]


def test_what_a_worker_refuses_is_undone_everywhere(path: Path) -> None:
    control = Control(path, started(path, OLD), "the certificate cannot be read")
    with pytest.raises(RefusedError) as error:
        control.apply(NEW)
    assert error.value.status == 422
    assert "worker-0: the certificate cannot be read" in error.value.detail
    assert path.read_text() == OLD
    assert [config.source.text for config in control.workers.used if config.source] == [NEW, OLD]
    assert control.state.generation == 3
    assert control.begin() == [("apply", "refused", "ada"), ("start", "applied", "")]


def test_what_fails_in_this_process_is_undone_too(path: Path) -> None:
    control = Control(path, started(path, OLD))
    follow, failures = control.state.canaries.follow, [RuntimeError("nobody foresaw this")]

    async def fail_once(config: Config) -> None:
        if failures:
            raise failures.pop()
        await follow(config)

    control.state.canaries = SimpleNamespace(follow=fail_once)
    with pytest.raises(RefusedError, match="nobody foresaw this"):
        control.apply(NEW)
    assert path.read_text() == OLD
    assert control.state.config.source.text == OLD
    assert [config.source.text for config in control.workers.used if config.source] == [OLD]
    control.configuration.close()


def test_a_reload_in_the_middle_of_applying_waits_for_its_end(path: Path) -> None:
    control = Control(path, started(path, OLD))

    async def both() -> tuple[list[int], list[str]]:
        control.configuration.begin()
        apply = control.configuration.apply(Sent(NEW), ["*"], Cause("apply", "ada"))
        reloads = asyncio.gather(*(control.reloading.reload() for _ in range(3)))
        applied, others = await asyncio.gather(apply, reloads)
        return [applied.generation, *others], [each.action for each in await control.configuration.history()]

    generations, actions = asyncio.run(both())
    assert sorted(generations) == [2, 3, 4, 5]
    assert path.read_text() == NEW
    used = [config.source.text for config in control.workers.used if config.source]
    assert used == [OLD] * used.count(OLD) + [NEW] * used.count(NEW), "nobody goes back to what was there before"
    assert actions[0] == "apply"
    control.configuration.close()


def test_a_worker_that_is_late_is_a_note(path: Path) -> None:
    control = Control(path, started(path, OLD), LATE)
    assert control.apply(NEW) == 2
    assert path.read_text() == NEW
    control.configuration.close()


def test_a_gateway_that_finds_the_history_taken_keeps_one_of_its_own(path: Path) -> None:
    one, two = Control(path, started(path, OLD)), Control(path, started(path, OLD))
    assert one.apply(NEW) == 2
    assert two.configuration.kept_in[1] == "another gateway with the same configuration uses it"

    async def apply(text: str, tags: list[str]) -> None:
        await two.configuration.apply(Sent(text), tags, Cause("apply", "eve"))

    async def tag() -> str:
        return await two.configuration.tag()

    with pytest.raises(RefusedError, match="has changed it on disk") as error:
        asyncio.run(apply(OLD, [asyncio.run(tag())]))
    assert (error.value.status, path.read_text()) == (412, NEW)
    asyncio.run(apply(OLD.replace("shop", "third"), [str(error.value.more["current"])]))
    assert "third" in path.read_text()
    one.configuration.close()


def test_another_release_says_what_it_makes_of_the_same_file(path: Path) -> None:
    first = Control(path, started(path, OLD))
    assert first.begin() == [("start", "applied", "")]
    history = first.configuration._history
    known = history.resolved()
    assert known is not None
    known.document["services"]["shop"]["timeout"]["response"] = 20
    history.store_resolved(Resolved("0.0.9", known.tag, known.document))
    second = Control(path, started(path, OLD))
    assert [action for action, _, _ in second.begin()] == ["release", "start"]
    entry = second.configuration._history.entries()[0]
    assert entry.why == f"release {__version__}, before it 0.0.9"
    assert entry.changes[0]["details"] == ["services.shop.timeout.response: 20 → 30"]
    assert [action for action, _, _ in Control(path, started(path, OLD)).begin()] == ["release", "start"]
