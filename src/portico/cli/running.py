"""A running gateway, as commands ask it: by its admin API."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from portico.cli.configured import path_of
from portico.cli.console import fail

if TYPE_CHECKING:
    from portico.cli.admin_client import AdminClient
    from portico.config import GatewaySettings, Problem


def gateway_at(config: Path | None, admin: str | None) -> AdminClient:
    """The running gateway: where the gateway section of the file says, or at `admin`, whatever is in the file."""
    from portico.cli.admin_client import AdminClient, AdminError

    if admin is None:
        try:
            return AdminClient.of(gateway_written(config))
        except AdminError as error:
            fail(f"portico: {error}")
    from portico.config import ConfigError, load_gateway
    from portico.config.environment import without_newline
    from portico.config.gateway import split_address

    try:
        host, port = split_address(admin)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--admin") from error
    try:
        written = load_gateway(path_of(config), os.environ).own_admin_token
    except ConfigError:
        written = None
    token = without_newline(os.environ.get("ADMIN_TOKEN", "")) or written
    return AdminClient(host, port, token)


def gateway_written(config: Path | None) -> GatewaySettings:
    """What the file says of the gateway; what is wrong with that ends the command."""
    from portico.config import ConfigError, load_gateway

    try:
        return load_gateway(path_of(config), os.environ)
    except ConfigError as error:
        _no_address(error.problems)


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
