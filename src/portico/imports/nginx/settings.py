"""What holds for all of nginx, as settings of the gateway."""

from __future__ import annotations

from typing import Any

from portico.imports.draft import Draft
from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.policies import body_size
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.values import bytes_text, duration, seconds, size

_TIMES = {
    "client_header_timeout": ("header_timeout", 10),
    "client_body_timeout": ("body_timeout", 30),
    "keepalive_timeout": ("idle_timeout", 75),
}
_LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "notice": "INFO",
    "warn": "WARNING",
    "error": "ERROR",
    "crit": "CRITICAL",
    "alert": "CRITICAL",
    "emerg": "CRITICAL",
}


def gateway_settings(draft: Draft, ledger: Ledger, scope: Scope) -> None:
    """Workers, limits, the log, and the proxies in front."""
    data = draft.gateway.data
    workers = scope.one("worker_processes")
    ledger.taken(workers)
    if workers is not None and workers.value == "auto":
        data["workers"] = "auto"
    elif workers is not None and workers.value.isdecimal() and 1 < int(workers.value[:4]) <= 256:
        data["workers"] = int(workers.value)
    data["endpoints"] = dict.fromkeys(("root", "health", "metrics", "docs"), False)
    _proxies(draft, ledger, scope)
    limits: dict[str, Any] = {}
    number = body_size(scope)
    if number != 10 << 20:
        limits["body_size"] = bytes_text(number)
    for name, (key, default) in _TIMES.items():
        directive = scope.one(name)
        time = seconds(directive.value) if directive is not None else None
        ledger.taken(directive)
        if time and time != default:
            limits[key] = duration(time)
    ledger.taken(scope.one("send_timeout"), why="body_timeout is for both directions")
    _connections(ledger, scope, limits)
    if limits:
        data["limits"] = limits
    if log := _log(ledger, scope):
        data["log"] = log


def _connections(ledger: Ledger, scope: Scope, limits: dict[str, Any]) -> None:
    events = scope.one("events")
    connections = events.last("worker_connections") if events is not None else None
    if connections is not None and connections.value.isdecimal():
        ledger.taken(connections)
        if connections.value != "10000":
            limits["connections"] = min(max(int(connections.value[:9]), 1), 1_000_000)
    buffers = scope.one("large_client_header_buffers")
    if buffers is not None and len(buffers.args) == 2 and (number := size(buffers.args[1])):
        ledger.taken(buffers)
        if number != 32 << 10:
            limits["header_size"] = bytes_text(min(max(number, 1 << 10), 1 << 20))


def _proxies(draft: Draft, ledger: Ledger, scope: Scope) -> None:
    lines = scope.all("set_real_ip_from")
    header = scope.one("real_ip_header")
    if header is not None and header.value.lower() not in ("x-forwarded-for", "proxy_protocol", "x-real-ip"):
        ledger.left(header, "proxies in front say the client's address in X-Forwarded-For")
        return
    networks = [each.value for each in lines if each.value != "unix:"]
    ledger.taken(*lines, header)
    if networks:
        draft.gateway.data["trusted_proxies"] = networks
        if header is not None and header.value.lower() == "x-real-ip":
            ledger.changed(header, "the address is taken from X-Forwarded-For")


def _log(ledger: Ledger, scope: Scope) -> dict[str, Any]:
    log: dict[str, Any] = {}
    errors = scope.one("error_log")
    if errors is not None:
        ledger.taken(errors, why="events go to stderr")
        level = _LEVELS.get(errors.args[1]) if len(errors.args) > 1 else "ERROR"
        if level and level not in ("INFO", "ERROR", "CRITICAL"):
            log["level"] = level
    access = scope.one("access_log")
    if access is not None:
        _access(ledger, access, log)
    return log


def _access(ledger: Ledger, access: Directive, log: dict[str, Any]) -> None:
    path = access.value
    ledger.taken(access)
    if path == "off":
        log["access"] = "off"
    elif path in ("/dev/stdout", "/dev/stderr"):
        if path == "/dev/stderr":
            log["access"] = "stderr"
    elif path.startswith("syslog:"):
        server = next((word[7:] for word in path[7:].split(",") if word.startswith("server=")), "")
        log["access"] = f"syslog://{server}" if ":" in server and not server.startswith("unix:") else "syslog"
    elif "$" in path:
        ledger.left(access, "the name of a log is always the same")
    else:
        log["access"] = path
