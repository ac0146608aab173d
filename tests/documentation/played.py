"""Examples of a page that are run as they stand there: files are written, commands entered, what they print compared.

A block of `text` behind one of commands is all that these print. In it `…` stands for any characters of a line, and
for any lines where it is alone on one. Ports are replaced by ones that are free, and nothing else is.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from support.portico import environment
from support.process import Process, free_port

from .markdown import Block

WITHIN: Final = 60.0
"""Seconds for a block of commands."""
_PORT: Final = re.compile(r"(?<=[:= ])(?:80[0-9]{2}|9000)\b")
_END: Final = "---- the end of a block ----"
_TERMINAL: Final = Path(__file__).with_name("terminal.py")
_COLOR: Final = re.compile(r"\x1b\[[0-9;]*m")
_FAILED: Final = "---- a command failed ----"
_COMMAND: Final = re.compile(r"^\$ (.+\n)((?:(?!\$ ).*\n)*)", re.MULTILINE)


class Player:
    """A reader of a page: a folder, a shell that goes on from block to block, and further terminals.

    `env` is what these have beside what leads to the programs.
    """

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self._env = env
        self._ports: dict[str, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._programs.mkdir()
        self.program("portico", f'exec {shlex.quote(sys.executable)} -m portico "$@"')
        paths = [str(self._programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        where = {"GATEWAY_PORT": self._own(":8000")[1:], "GATEWAY_ADMIN": self._own("127.0.0.1:9000")}
        self._environ = environment(PATH=os.pathsep.join(paths), HOME=str(self.folder), **where, **self._env)
        self._shell = self._stack.enter_context(
            subprocess.Popen(
                ["bash"],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        self._stack.callback(self._shell.kill)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def _programs(self) -> Path:
        return self.folder / "programs"

    def program(self, name: str, script: str) -> None:
        """A program of this name, which comes before others, is this script for sh."""
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def play(self, blocks: Sequence[Block]) -> int:
        """How many of them were run. Raises AssertionError where something else is printed than the page says."""
        played = 0
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            shown = self._own(following.text) if following and following.language == "text" else ""
            played += self._play(block, self._own(block.text), shown)
        return played

    def _play(self, block: Block, text: str, shown: str) -> bool:
        kind, _, name = block.note.partition(" ")
        if name and kind in ("file", "other"):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif kind == "terminal":
            there = ["sh", "-c", f"cd {shlex.quote(str(self.folder))}; exec {text}"]
            terminal = Process(sys.executable, _TERMINAL, *there, env=self._environ)
            self._stack.enter_context(terminal)
            terminal.wait_until_ready(lambda: matches(terminal.output(), shown))
        elif block.language == "sh" and not kind:
            printed = self._entered(text)
            assert matches(printed, shown), f"line {block.line}:\n{text}prints\n{printed}\nand not\n{shown}"
        else:
            return False
        return True

    def play_alone(self, block: Block) -> bool:
        """Whether all commands of a block succeed; those of a session print what it shows, whatever its numbers are."""
        text = self._own(block.text)
        if not text.startswith("$ "):
            return _FAILED not in self._entered(f"trap 'echo {_FAILED}' ERR\n{text}")
        self._entered("trap - ERR")
        for command, shown in _COMMAND.findall(text):
            printed = self._entered(command)
            assert matches(_numberless(printed), _numberless(shown)), f"{command}\nprints\n{printed}\nand not\n{shown}"
        return True

    def _entered(self, text: str) -> str:
        """What the shell prints once all commands of the text are done."""
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f"{text}\nprintf '\\n%s\\n' '{_END}'\n")
        self._shell.stdin.flush()
        timer = threading.Timer(WITHIN, self._shell.kill)
        timer.start()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line.rstrip() == _END:
                timer.cancel()
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"these did not end within {WITHIN:.0f} s:\n{text}{''.join(lines)}")

    def _own(self, text: str) -> str:
        """The same with ports that are free."""
        return _PORT.sub(lambda found: str(self._ports.setdefault(found[0], 0) or self._new_port(found[0])), text)

    def _new_port(self, written: str) -> int:
        port = self._ports[written] = free_port()
        return port


def matches(printed: str, shown: str) -> bool:
    """Whether this is what the page shows, but for how many spaces there are: a port of its own widens columns."""
    wanted = [re.escape(line).replace("…", ".*") for line in _lines(shown)]
    pattern = "".join("(?:.*\n)*?" if line == ".*" else f"{line}\n" for line in wanted)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in _COLOR.sub("", text).strip().splitlines()]


def _numberless(text: str) -> str:
    return re.sub(r"\d+", "0", text)
