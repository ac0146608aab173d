"""The configuration in force, for those who look at it and change it over the admin API."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from portico import __version__
from portico.config import Config, ConfigError, Problem, load_text
from portico.config.document import parse_document
from portico.config.masks import masked_text
from portico.core import memory
from portico.core.caches import forget_results
from portico.core.tasks import background
from portico.plan import Change, Kind, Plan, summary
from portico.plan.values import differences
from portico.processes.control.configuration.cause import Cause
from portico.processes.control.configuration.errors import RefusedError, invalid
from portico.processes.control.configuration.file import ConfigurationFile
from portico.processes.control.configuration.history import Entry, History, Resolved
from portico.processes.control.configuration.in_force import InForce
from portico.processes.control.configuration.preconditions import ANY, read_if_match
from portico.processes.control.configuration.proposed import Proposed, Sent, compared, propose, warned
from portico.processes.control.reloading import ReloadError, Reloading, fixed_differences, in_words
from portico.processes.control.state import State
from portico.processes.control.state_file import StateFile, state_path
from portico.processes.control.workers import LATE
from portico.processes.ipc.runtime import Runtime

logger: Final = logging.getLogger("portico.control")

_NOT_WRITTEN: Final = "the history of the configuration cannot be written: no rollback will lead here"
_READ_TIMEOUT: Final = 60.0
"""Seconds for a document to be read and compared; users' policies, which are imported for it, may do anything."""
_NO_FILE: Final = "this gateway runs without a file"
_FEW: Final = 200
"""Changes that an entry of the history lists."""
_SHORT: Final = 20
"""Changes that a refusal lists."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a change. `number` is that of its entry in the history, None where nothing changed.

    `notes` are what is not as its author may think, in sentences; `to` is the entry that a rollback leads to.
    """

    generation: int
    changes: list[dict[str, object]]
    etag: str
    number: int | None = None
    notes: tuple[str, ...] = ()
    to: int | None = None

    @property
    def in_short(self) -> str:
        """What came of it, in a few words."""
        what = f"{len(self.changes)} changes, generation {self.generation}" if self.number else "no changes"
        return what if self.to is None else f"to {self.to}: {what}"

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        data = {"generation": self.generation, "changes": self.changes, "etag": self.etag, "number": self.number}
        return data | {"notes": [*self.notes]} | ({} if self.to is None else {"to": self.to})


class Configuration:
    """Shows the configuration in force, and applies others: each whole or not at all, in the file as in all workers."""

    def __init__(self, state: State, reloading: Reloading, runtime: Runtime) -> None:
        self._state = state
        self._reloading = reloading
        self._runtime = runtime
        self._file = ConfigurationFile(state.config_path) if state.config_path is not None else None
        self._kept = StateFile(
            state_path(state.config, state.config_path, "history") if self._file is not None else None,
            runtime.directory / "history.json",
        )
        self._history = History(self._kept.path.with_suffix(""))
        self._seen: InForce | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._recording: list[asyncio.Task[None]] = []
        reloading.taken_over = self._note_reload

    # ---- what is in force

    async def shown(self) -> tuple[dict[str, Any], str]:
        """The document in force without secrets, and its tag."""
        there = await self._in_force()
        return there.shown, there.tags[0]

    async def text(self) -> tuple[str, str]:
        """The text of the file in force without secrets, and its tag. Raises RefusedError where there is no file."""
        there = await asyncio.to_thread(self._current().with_text)
        if there.masked is None:
            raise RefusedError(404, _NO_FILE)
        return there.masked, there.tags[1]

    async def tag(self) -> str:
        """That of the document in force."""
        return (await self._in_force()).tags[0]

    async def _in_force(self) -> InForce:
        """With its document."""
        return await asyncio.to_thread(self._current().with_document)

    def _current(self) -> InForce:
        config, seen = self._state.config, self._seen
        is_same = seen is not None and seen.config.source is config.source and seen.config.written is config.written
        if seen is None or not is_same:
            seen = self._seen = InForce(config, self._history)
        return seen

    # ---- what another one would be

    async def validate(self, sent: Sent) -> list[Problem]:
        """What is worth a look in a document that could come into force. Raises RefusedError where it could not."""
        proposed = await self._proposed(sent, await self._in_force())
        return await asyncio.to_thread(warned, proposed.config)

    async def plan(self, sent: Sent) -> Plan:
        """What a document would change. Raises RefusedError where it could not come into force."""
        return (await self._proposed(sent, await self._in_force())).plan

    async def _proposed(self, sent: Sent, there: InForce) -> Proposed:
        filename = str(self._state.config_path or "portico.yaml")
        found: list[Proposed] = []

        def read() -> Config:
            found.append(propose(sent, there, filename, self._reloading.checked))
            return found[0].config

        try:
            config = await self._reloading.in_time(read, _READ_TIMEOUT)
        except ReloadError as error:
            raise invalid(error.problems) from None
        if config is found[0].config:
            return found[0]
        changes, is_same = await asyncio.to_thread(compared, there, config)  # with services that have registered
        return Proposed(found[0].text, config, changes, is_same)

    # ---- another one comes in

    async def apply(self, sent: Sent, if_match: Sequence[str], cause: Cause, *, dry_run: bool = False) -> Applied:
        """Have a document come into force. `if_match` are the values of that field. Raises RefusedError."""
        async with self._turn():
            there, on_disk = await self._checked(if_match, sent)
            proposed = await self._proposed(sent, there)
            return await self._apply(proposed, there, on_disk, cause, dry_run=dry_run)

    async def rollback(
        self, number: int | None, if_match: Sequence[str], cause: Cause, *, dry_run: bool = False
    ) -> Applied:
        """Have an earlier one come into force again, the one before by default. Raises RefusedError."""
        async with self._turn():
            there, on_disk = await self._checked(if_match)
            entry = self._earlier(number, there)
            proposed = await self._proposed(Sent(entry.text, has_masks=False), there)
            new = InForce(proposed.config, self._history)
            files = await asyncio.to_thread(lambda: new.files)
            other = [path for path in {**files, **entry.files} if files.get(path) != entry.files.get(path)]
            notes = [f"{path} is not as it was then: the history keeps only the file itself" for path in other]
            done = await self._apply(proposed, there, on_disk, cause, dry_run=dry_run)
            return replace(done, notes=(*done.notes, *notes), to=entry.number)

    def _earlier(self, number: int | None, there: InForce) -> Entry:
        if number is not None:
            entry = self._history.find(number)
            if entry is None or entry.state != "applied":
                raise RefusedError(404, f"the history has no configuration {number} that was in force")
            return entry
        text = there.config.source.text if there.config.source is not None else ""
        entries = (each for each in self._history.entries() if each.state == "applied" and each.text != text)
        entry = next(entries, None)
        if entry is None:
            raise RefusedError(409, "the history has no configuration before this one")
        return entry

    async def _checked(self, if_match: Sequence[str], sent: Sent | None = None) -> tuple[InForce, str | None]:
        """What is in force, and the text on disk, if they are what the author of a change has seen.

        Raises RefusedError.

        Whoever sends what is on disk by now has seen that, too.
        """
        try:
            tags = read_if_match(if_match)
        except ValueError as error:
            raise RefusedError(400, str(error)) from None
        if self._file is None:
            raise RefusedError(409, f"{_NO_FILE}: start it with portico run FILE")
        if tags is None:
            raise RefusedError(428, "say what you have seen: If-Match with the ETag of GET /admin/config, or *")
        there = await self._in_force()
        await asyncio.to_thread(self._file.check)
        on_disk = await asyncio.to_thread(self._file.text)
        source = there.config.source
        is_there = sent is not None and not sent.is_json and on_disk == sent.text
        if is_there or (source is not None and on_disk == source.text):
            if ANY not in tags and tags.isdisjoint(there.tags):
                raise await self._changed(tags, there)
        elif ANY not in tags and self._tag_of(on_disk) not in tags:
            message = (
                f"{self._file.path} is not what is in force: somebody has changed it on disk; reload, or put it back"
            )
            raise RefusedError(412, message, {"current": self._tag_of(on_disk), "changes": []})
        return there, on_disk

    def _tag_of(self, text: str | None) -> str:
        """The tag of a file on disk that is not in force."""
        return f'"{self._history.digest(b"disk", (text or "").encode())}"'

    async def _changed(self, tags: frozenset[str], there: InForce) -> RefusedError:
        """What has changed since the document that somebody has seen, as far as that is known."""
        known = self._history.tagged(tags)
        changes: list[dict[str, Any]] = []
        if known is not None:
            changes = await asyncio.to_thread(self._since, known, there)
        who = self._history.entries()[:1]
        by = f", by {who[0].who}" if who and who[0].who else ""
        message = f"the configuration has been changed since you saw it{by}: look at it again"
        return RefusedError(412, message, {"current": there.tags[0], "changes": changes})

    def _since(self, known: Entry, there: InForce) -> list[dict[str, Any]]:
        with suppress(ConfigError):
            found, _ = compared(InForce(self._loaded(known), self._history), there.config)
            return [change.as_data() for change in found.changes[:_SHORT]]
        later = (entry for entry in self._history.entries() if entry.number > known.number)
        return [change for entry in later for change in entry.changes][:_SHORT]

    def _loaded(self, entry: Entry) -> Config:
        """What an entry would be in this gateway. Raises ConfigError."""
        filename = str(self._state.config_path or "portico.yaml")
        return self._runtime.completed(load_text(entry.text, filename, os.environ, entry.included))

    async def _apply(
        self, proposed: Proposed, there: InForce, on_disk: str | None, cause: Cause, *, dry_run: bool
    ) -> Applied:
        changes = [change.as_data() for change in proposed.plan.changes]
        if proposed.is_same and not dry_run:
            return await self._kept_as_is(proposed, there, on_disk, cause)
        if dry_run:
            return Applied(self._state.generation, changes, there.tags[0])
        try:
            await self._reloading.prepare(proposed.config)
        except ReloadError as error:
            raise invalid(error.problems) from None
        new = InForce(proposed.config, self._history)
        entry = await asyncio.to_thread(self._entry, new, cause, proposed.plan, "pending")
        await self._stored(entry)
        try:
            await self._write(proposed.text, on_disk)
        except RefusedError:
            self._reloading.abandon(proposed.config)
            await asyncio.to_thread(self._history.remove, entry.number)
            raise
        async with self._reloading.notified():
            is_fixed = fixed_differences(self._state.config, proposed.config)
            behind = await self._taken_over(proposed.config)
            refused = {worker: problem for worker, problem in behind.items() if problem != LATE}
            if refused:
                await self._undo(entry, there, refused)
        entry.state, entry.generation = "applied", self._state.generation
        await self._finished(entry)
        self._seen = new
        self._record_later(partial(self._note_release, proposed.config))
        extra = {"generation": entry.generation, "number": entry.number, "who": entry.who}
        logger.info("configuration applied", extra=extra)
        notes = ["a change of workers, embedded_redis, admin or log takes effect after a restart"] if is_fixed else []
        notes += [f"{worker} {problem}: it is replaced if it goes on like that" for worker, problem in behind.items()]
        return Applied(entry.generation, changes, await self.tag(), entry.number, tuple(notes))

    async def _taken_over(self, config: Config) -> dict[str, str]:
        """What of the gateway does not use a configuration now, each with the reason."""
        try:
            return await self._reloading.take_over(config)
        except Exception as error:
            logger.exception("a configuration could not be taken over")
            return {"control": repr(error)}

    async def _kept_as_is(self, proposed: Proposed, there: InForce, on_disk: str | None, cause: Cause) -> Applied:
        """Nothing is to do, but where the file says something else than what is in force: then it is written.

        If other words for the same are in the file by now, they are those in force.
        """
        config, source = self._state.config, proposed.config.source
        if on_disk != proposed.text and not await self._says(on_disk, there):
            await self._write(proposed.text, on_disk)
            self._reloading.note_right()
            on_disk = proposed.text
        if source != config.source and on_disk == proposed.text:
            self._reloading.note_source(source)
            self._note(config, self._state.config, cause)
            there = await self._in_force()
        return Applied(self._state.generation, [], there.tags[0])

    async def _says(self, text: str | None, there: InForce) -> bool:
        """Whether a text means what is in force."""
        if there.config.source is not None and text == there.config.source.text:
            return True
        try:
            return text is not None and (await self._proposed(Sent(text, has_masks=False), there)).is_same
        except RefusedError:
            return False

    async def _write(self, text: str, expected: str | None) -> None:
        """Put `text` into the file, if what is there is still what was `expected`. Raises RefusedError."""
        assert self._file is not None
        await asyncio.to_thread(self._file.replace, text, lambda found: found == expected)
        self._reloading.note_own(self._file.path)

    async def _undo(self, entry: Entry, there: InForce, refused: dict[str, str]) -> None:
        """Workers have refused it: the one before is in force again, in its file and everywhere."""
        text = there.config.source.text if there.config.source is not None else ""
        message = f"workers cannot use it:\n{in_words(refused)}"
        try:
            await self._write(text, entry.text)
        except RefusedError as error:
            message += f"\nThe file could not be put back: {error.detail}"
            logger.error("a refused configuration stays in its file", extra={"reason": error.detail})
        await self._reloading.take_over(there.config)
        entry.state, entry.generation = "refused", self._state.generation
        await self._finished(entry)
        raise RefusedError(422, message, {"problems": [], "generation": self._state.generation})

    # ---- the history

    async def history(self) -> list[Entry]:
        """All entries, the newest first."""
        await self._begun()
        await self._recorded()
        return self._history.entries()

    async def entry(self, number: int) -> tuple[Entry, str | None]:
        """One of them, and its text without secrets. Raises RefusedError where there is none.

        There is no text where this release cannot read it, so that nobody knows what in it is secret.
        """
        await self._begun()
        await self._recorded()
        entry = self._history.find(number)
        if entry is None:
            raise RefusedError(404, f"the history has no entry {number}")
        return entry, await asyncio.to_thread(_masked, entry, str(self._state.config_path))

    @property
    def kept_in(self) -> tuple[Path, str]:
        """Where the history is, and why it is not kept over a restart, if it is not."""
        return self._history.directory, self._kept.problem if self._file is not None else _NO_FILE

    def begin(self) -> None:
        """Note what this gateway begins with; finish what the process before this one was killed at."""
        self._beginning = background(self._begin(), "the history of the configuration")

    async def _begin(self) -> None:
        config = self._state.config
        if config.source is None or self._file is None:
            return
        entries = self._history.entries()
        pending = next((each for each in entries[:1] if each.state == "pending"), None)
        if pending is not None:
            on_disk = await asyncio.to_thread(self._file.text)
            if pending.text == config.source.text:
                pending.state, pending.generation = "applied", self._state.generation
            else:
                pending.state = "abandoned"
            await self._finished(pending)
            if pending.text == on_disk and pending.state == "abandoned":  # it was written, and not taken over
                await asyncio.to_thread(self._history.remove, pending.number)
                await self._reloading.reload_for_nobody(Cause("apply", pending.who, pending.user, pending.why))
        if self._state.refused is not None:
            extra = {"file": str(self._file.path), "problems": self._state.refused}
            logger.error("the file is wrong and left alone: an earlier configuration is in force", extra=extra)
        known = self._history.resolved()
        if known is None or known.release != __version__:
            await asyncio.to_thread(self._note_release, self._state.config)
        self._note(None, self._state.config, Cause("start" if self._state.refused is None else "resume"))

    def _note_reload(self, before: Config, cause: Cause) -> None:
        self._note(before, self._state.config, cause)

    def _note(self, before: Config | None, config: Config, cause: Cause) -> None:
        """Have an entry for what has come into force, unless its text is that of the last one."""
        self._record_later(partial(self._record, before, config, cause, self._state.generation))

    def _record_later(self, record: Callable[[], None]) -> None:
        """Write into the history, after all that is to be written before."""
        recording = self._in_turn(record, [*self._recording])
        self._recording.append(background(recording, "the history of the configuration"))

    async def _in_turn(self, record: Callable[[], None], earlier: list[asyncio.Task[None]]) -> None:
        if earlier:
            await asyncio.wait(earlier)
        try:
            await asyncio.to_thread(record)
        except OSError as error:
            logger.warning(_NOT_WRITTEN, extra={"reason": error.strerror, "file": str(self._history.directory)})
        forget_results()
        memory.trim()  # of thousands of routes, documents were made and compared that nobody needs any more

    def _record(self, before: Config | None, config: Config, cause: Cause, generation: int) -> None:
        source = config.source
        last = next((each for each in self._history.entries() if each.state == "applied"), None)
        if source is None or (last is not None and (last.text, last.included) == (source.text, dict(source.included))):
            return
        if before is None and last is not None:
            with suppress(ConfigError):
                before = self._loaded(last)
        new = InForce(config, self._history)
        found = compared(InForce(before, self._history), config)[0] if before is not None else Plan(())
        entry = self._entry(new, cause, found, "applied")
        entry.generation = generation
        self._store(entry)
        self._note_release(config)

    def _note_release(self, config: Config) -> None:
        """Have an entry for what another release of Portico makes of the same file: other defaults."""
        if config is not self._state.config:
            return  # another one has come into force
        there, known = InForce(config, self._history), self._history.resolved()  # nobody may ever ask for it again
        if known is not None and known.release != __version__ and known.tag == there.tags[0]:
            lines = differences(known.document, there.shown)
            if lines:
                changes = (Change(Kind.CHANGED, f"defaults of Portico {__version__}", tuple(lines)),)
                cause = Cause("release", why=f"release {__version__}, before it {known.release}")
                entry = self._entry(there, cause, Plan(changes), "applied")
                entry.generation = self._state.generation
                self._store(entry)
        if known is None or (known.release, known.tag) != (__version__, there.tags[0]):
            with suppress(OSError):
                self._history.store_resolved(Resolved(__version__, there.tags[0], there.shown))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """While this lasts nobody else changes the configuration in force, or writes into its history."""
        await self._begun()  # it may take a turn itself
        async with self._reloading.turn():
            await self._recorded()
            yield

    async def _begun(self) -> None:
        if self._beginning is not None:
            await asyncio.wait([self._beginning])

    async def _recorded(self) -> None:
        """Wait for what is being written into the history."""
        self._recording = [task for task in self._recording if not task.done()]
        if self._recording:
            await asyncio.wait(self._recording)

    def _entry(self, new: InForce, cause: Cause, found: Plan, state: str) -> Entry:
        source = new.config.source
        assert source is not None
        return Entry(
            number=self._history.next_number(),
            when=time.time(),
            action=cause.action,
            who=cause.who,
            user=cause.user,
            why=cause.why,
            state=state,
            generation=0,
            tags=[*new.tags],
            summary=summary(found) if found.changes else "no changes",
            changes=[change.as_data() for change in found.changes[:_FEW]],
            total=len(found.changes),
            files=new.files,
            text=source.text,
            included=dict(source.included),
            release=__version__,
        )

    async def _stored(self, entry: Entry) -> None:
        """Write an entry. Raises RefusedError: without it nobody could go back."""
        try:
            await asyncio.to_thread(self._store, entry)
        except OSError as error:
            where = self._history.directory
            message = f"the history in {where} cannot be written ({error.strerror}): no rollback would lead back"
            raise RefusedError(507, message) from None

    async def _finished(self, entry: Entry) -> None:
        """Write what became of an entry; what is done is done, also where that fails."""
        try:
            await asyncio.to_thread(self._store, entry)
        except OSError as error:
            logger.warning(_NOT_WRITTEN, extra={"reason": error.strerror, "file": str(self._history.directory)})

    def _store(self, entry: Entry) -> None:
        bounds = self._state.config.gateway.history
        self._history.store(entry, keep=bounds.keep, size=bounds.size)

    def close(self) -> None:
        """Let another process have the history."""
        self._kept.close()


def _masked(entry: Entry, filename: str) -> str | None:
    with suppress(ConfigError):
        return masked_text(entry.text, parse_document(entry.text, filename))
    return None
