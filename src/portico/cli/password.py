"""`portico password`: the hash of a password, for the file."""

from __future__ import annotations

import getpass
import sys

import typer


def password() -> None:
    """Print the hash of a password, for `password` of a consumer; it is asked for, or the first line of a pipe."""
    from portico.cli.main import _fail
    from portico.core.passwords import hashed

    given = _typed() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not given:
        _fail("portico: there is no password: type one, or pipe one in as a line")
    typer.echo(hashed(given))


def _typed() -> str:
    from portico.cli.main import _fail

    first = getpass.getpass("Password: ")
    if first and first != getpass.getpass("The same again: "):
        _fail("portico: the two are different")
    return first
