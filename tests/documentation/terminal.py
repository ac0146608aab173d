"""Run as a program: a command in a terminal, whose screen is standard output: programs say there what users read.

SIGTERM goes to the command; its exit code is that of this program.
"""

from __future__ import annotations

import os
import pty
import signal
import sys
from contextlib import suppress

if __name__ == "__main__":
    pid, screen = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    with suppress(OSError):  # EIO: the command has ended
        while data := os.read(screen, 65536):
            os.write(1, data)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
