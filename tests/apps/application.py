"""What is known of one application: requirements, command, the lines of each situation, and who drives it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from .visit import Visit

DOMAIN: Final = "example.com"
"""Where the gateway is reached; at the root of a host an application has a name of its own under it."""
ADDRESS: Final = "127.0.0.1"
TLS: Final = "gateway: {port: 443, tls: {certificate: example.pem, key: example.key}}\n"
"""What the situation with TLS has in front of the lines for the root of a host."""


class Situation(StrEnum):
    """Where an application may stand; the text is the column's head."""

    ROOT = "root of a host"
    PREFIX = "under a prefix"
    TLS = "with TLS"
    TWO = "two instances"


@dataclass(frozen=True)
class Lines:
    """What one situation needs beyond the least: keys of the service, a line each, of the route, and its own.

    In `options` and `environment` `{host}` is the public name, `{origin}` that with its scheme. `why` says what happens
    without them.
    """

    why: str
    service: str = ""
    route: str = ""
    more: str = ""
    """Further routes, a line each."""
    options: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Application:
    """An application that is installed from PyPI.

    `command` is a line of shell words; its first word is a program of the application's own environment, and files that
    it names are among `programs`. In it and in `environment` `{port}` is the port. Options of a situation follow it, or
    stand where it has `{options}`. `situations` has those that can be.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    command: str
    port: int
    drive: Callable[[Visit], None]
    does: str
    """What the driver does and judges, in a few words."""
    situations: Mapping[Situation, Lines]
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the command has in every situation."""
    ready: str = "/"
    """A path that is answered once the application serves."""
    remark: str = ""
    """What else is to be said of it, such as why a situation is not among those."""

    def bare(self) -> Application:
        """It with nothing but `body_size` in any situation: what breaks then is what the lines are for."""
        return replace(self, situations={each: _bare(lines) for each, lines in self.situations.items()})

    def host(self, situation: Situation) -> str:
        """The public name."""
        return DOMAIN if situation is Situation.PREFIX else f"{self.name}.{DOMAIN}"

    def url(self, situation: Situation) -> str:
        """Where a user finds it, without a slash at the end."""
        scheme = "https" if situation is Situation.TLS else "http"
        path = f"/{self.name}" if situation is Situation.PREFIX else ""
        return f"{scheme}://{self.host(situation)}{path}"

    def ports(self, situation: Situation) -> list[int]:
        """The ports of the instances, as the page shows them."""
        return [self.port, self.port + 1] if situation is Situation.TWO else [self.port]

    def configuration(self, situation: Situation) -> str:
        """The whole file of a situation."""
        return (TLS if situation is Situation.TLS else "") + self.shown(situation)

    def shown(self, situation: Situation) -> str:
        """What the page shows of it: the line about TLS is the same for all, and stands at its top."""
        lines = self.situations[situation]
        path = f"path: /{self.name}" if situation is Situation.PREFIX else f"path: /, hosts: [{self.host(situation)}]"
        route = ", ".join(filter(None, [f"service: {self.name}", path, lines.route]))
        more = "".join(f"  - {{service: {self.name}, {each}}}\n" for each in lines.more.splitlines())
        return f"services:\n{self._service(situation)}routes:\n  - {{{route}}}\n{more}"

    def argv(self, situation: Situation, port: int) -> list[str]:
        """The words of the command with the options of a situation."""
        options = self.situations[situation].options
        in_place = "{options}" in self.command
        line = self.command.replace("{options}", options) if in_place else f"{self.command} {options}"
        return shlex.split(self._filled(line, situation).replace("{port}", str(port)))

    def variables(self, situation: Situation, port: int) -> dict[str, str]:
        """What is in its environment, of which the page shows the situation's."""
        both = {**self.environment, **self.situations[situation].environment}
        return {name: self._filled(value, situation).replace("{port}", str(port)) for name, value in both.items()}

    def options(self, situation: Situation) -> str:
        """The application's own options and variables of a situation, as one would type them."""
        lines = self.situations[situation]
        variables = [f"{name}={shlex.quote(value)}" for name, value in lines.environment.items()]
        return self._filled(" ".join([*variables, lines.options]).strip(), situation)

    def _filled(self, text: str, situation: Situation) -> str:
        scheme = "https" if situation is Situation.TLS else "http"
        host = self.host(situation)
        return text.replace("{host}", host).replace("{origin}", f"{scheme}://{host}")

    def _service(self, situation: Situation) -> str:
        urls = [f'"http://{ADDRESS}:{port}"' for port in self.ports(situation)]
        addresses = f"instances: [{', '.join(urls)}]" if len(urls) > 1 else f"url: {urls[0]}"
        more = self.situations[situation].service.splitlines()
        if len(urls) > 1:
            return f"  {self.name}:\n" + "".join(f"    {each}\n" for each in [addresses, *more])
        return f"  {self.name}: {{{', '.join([addresses, *more])}}}\n"


def _bare(lines: Lines) -> Lines:
    return Lines("", service="".join(each for each in lines.service.splitlines() if each.startswith("body_size")))


def at_ports(configuration: str, ports: Mapping[int, int]) -> dict[str, Any]:
    """The configuration with other ports of the instances than it shows, each by that which it shows."""
    for shown, real in ports.items():
        configuration = configuration.replace(f"{ADDRESS}:{shown}", f"{ADDRESS}:{real}")
    parsed: dict[str, Any] = yaml.safe_load(configuration)
    return parsed
