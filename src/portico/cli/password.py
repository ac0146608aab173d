"""`portico password`: the hash of a password, for the file."""

from __future__ import annotations

import getpass
import sys

import typer

from portico.cli.console import fail


def password() -> None:
    """Print the hash of a password, for `password` of a consumer; it is asked for, or the first line of a pipe."""
    from portico.core.passwords import hashed

    given = _typed() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not given:
        fail("portico: there is no password: type one, or pipe one in as a line")
    typer.echo(hashed(given))


def _typed() -> str:
    first = getpass.getpass("Password: ")
    if first and first != getpass.getpass("The same again: "):
        fail("portico: the two are different")
    return first
