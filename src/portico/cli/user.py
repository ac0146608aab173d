"""Who sits before the terminal, for history and audit log."""

from __future__ import annotations

import getpass
import socket

from portico.core.printing import printable


def user() -> str:
    """The name of the user, if there is one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in many containers
        return "portico"


def user_here() -> str:
    """The same with this machine, as `ada@build7`, in what a field of a request may hold."""
    return printable(f"{user()}@{socket.gethostname()}").encode("ascii", "backslashreplace").decode()
