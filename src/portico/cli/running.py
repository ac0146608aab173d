"""A running gateway, as commands ask it: by its admin API."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from portico.cli.configured import load, path_of
from portico.cli.console import fail

if TYPE_CHECKING:
    from portico.cli.admin_client import AdminClient
    from portico.config import Problem


def gateway_at(config: Path | None, admin: str | None) -> AdminClient:
    """The running gateway. `--admin` works even where the file is wrong: that may be the reason for the command."""
    from portico.cli.admin_client import AdminClient, AdminError

    if admin is None:
        try:
            return AdminClient.of(load(config, demo=True, failed=_no_address)[0].gateway)
        except AdminError as error:
            fail(f"portico: {error}")
    from portico.config import ConfigError, load_config
    from portico.config.environment import without_newline
    from portico.config.gateway import split_address

    try:
        host, port = split_address(admin)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--admin") from error
    try:
        written = load_config(path_of(config), os.environ).gateway.own_admin_token
    except ConfigError:
        written = None
    token = without_newline(os.environ.get("ADMIN_TOKEN", "")) or written
    return AdminClient(host, port, token)


def _no_address(problems: Sequence[Problem]) -> NoReturn:
    """Variables that only the gateway has may be all that is wrong with the file here."""
    hint = "portico: mend the file, which says where the gateway is, or say that by --admin HOST:PORT"
    fail("\n".join([*map(str, problems), hint]))


def described(client: AdminClient, served: Path | None) -> str:
    """Which gateway answered."""
    return f"the gateway at {client.where} ({served or 'without a file'})"


def ask(config: Path | None, admin: str | None, question: Callable[[AdminClient], Any]) -> tuple[Any, str]:
    """What a running gateway answers, and which one that was; where none does, that ends the command."""
    from portico.cli.admin_client import AdminError

    client = gateway_at(config, admin)
    try:
        return question(client), described(client, client.file())
    except AdminError as error:
        fail(f"portico: {error}")
