"""A configuration to start from, for the services that are named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from portico.config.checks import RESERVED
from portico.config.instances import instance_url

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_HEAD: Final = """\
# The services behind this gateway, and how they are reached. Keys behind # are off: remove just the # to use one.
# portico check says what is wrong with this file, portico routes which path leads where; portico run starts the
# gateway. portico schema prints a JSON Schema for editors.

gateway:
  port: 8000                        # GATEWAY_PORT
  #host: 127.0.0.1                  # only for this machine; 0.0.0.0, the default, is every address (GATEWAY_HOST)
  #workers: auto                    # one process for each core (GATEWAY_WORKERS)
  #trusted_proxies: [10.0.0.0/8]    # whose X-Forwarded-* are believed: the proxies before this gateway

services:
"""
_OPTIONS: Final = """\
    #health_check: /health          # GET has to answer 2xx; without it an accepted connection is enough
    #timeout: 30                    # seconds until a response begins
    #policies: {auth: {jwt: {require_expiry: true}}}   # a JSON Web Token, signed with the key in SECRET_KEY
"""
_TAIL: Final = """\

policies:                           # for every service; each may have its own
  rate_limit: {requests_per_minute: 600, burst: 100}   # for each client address; then 429
  #cors: {allow_origins: [https://app.example.com]}    # pages of other origins that may call the services
  #headers: {security: true}        # X-Content-Type-Options and its like in responses
  #plugins: [{use: "./policies/hello.py:Hello"}]       # your own, in Python: docs/policies.md shows this one
"""
_EXAMPLE: Final = {"example": "http://localhost:8001"}


def services_of(arguments: Sequence[str]) -> dict[str, str]:
    """Names and URLs of `NAME=URL`. Raises ValueError."""
    services: dict[str, str] = {}
    for argument in arguments:
        name, equals, url = argument.partition("=")
        if not equals or not name:
            raise ValueError("expected NAME=URL, such as shop=http://localhost:8001")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a service: letters, digits, and within it also . _ -")
        if name in RESERVED:
            raise ValueError(f"{name}: metrics use this word; choose another name")
        if name in services:
            raise ValueError(f"{name} is there twice; more instances of a service are added in the file")
        try:
            services[name] = instance_url(url)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return services


def starting_file(services: Mapping[str, str]) -> str:
    """A commented configuration with these services or, where there are none, an example of one."""
    parts = [_HEAD]
    for index, (name, url) in enumerate((services or _EXAMPLE).items()):
        parts.append(f"  {name}:   # /api/{name}/path leads to {url}/path\n    url: {url}\n")
        if index == 0:
            parts.append(_OPTIONS)
    return "".join([*parts, _TAIL])


def write_starting_file(path: Path, services: Mapping[str, str]) -> None:
    """Write it where no file is yet. Raises OSError."""
    with path.open("x", encoding="utf-8") as file:
        file.write(starting_file(services))
