"""What other locations do beside a request: `auth_request` asks them, `mirror` copies to them."""

from __future__ import annotations

from typing import Any

from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.locations import Chooser, Location
from portico.imports.nginx.passing import address_of, choice_at
from portico.imports.nginx.policies import ClosedError
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.upstreams import Services
from portico.imports.nginx.values import duration, field_name, seconds
from portico.imports.nginx.variables import Value, Var, Variables, literal


def forward_auth(
    ledger: Ledger, services: Services, scope: Scope, chooser: Chooser, variables: Variables
) -> dict[str, Any] | None:
    """The service that `auth_request` asks. Raises ClosedError where Portico cannot ask it so."""
    directive = scope.one("auth_request")
    if directive is None or directive.value == "off":
        return None
    location = chooser.of(directive.value.partition("?")[0])
    address, path = _target(directive, location, variables)
    if location is None or path is None or "$" in path:
        raise ClosedError(directive, "Portico asks a service, by a path that is always the same")
    urls = services.urls(address)
    if len(urls) != 1:
        raise ClosedError(directive, "policies.auth.forward asks one address")
    ledger.taken(directive, location.directive, *location.block)
    settings: dict[str, Any] = {"url": f"{urls[0]}{path or '/'}"}
    names = [
        field_name(value[0].name[14:])
        for each in scope.all("auth_request_set")
        if len(each.args) == 2
        for value in [variables.expand(each.args[1], each.where)]
        if len(value) == 1 and isinstance(value[0], Var) and value[0].name.startswith("upstream_http_")
    ]
    passed = _passed(scope, variables)
    for each in scope.all("auth_request_set"):
        ledger.taken(each)
    wanted = [name for name in dict.fromkeys(names) if name.lower() in passed]
    if wanted:
        settings["pass_headers"] = wanted
    time = location.scope.one("proxy_read_timeout")
    if time is not None and (number := seconds(time.value)) and number != 5:
        settings["timeout"] = duration(min(number, 25))
    return settings


def _passed(scope: Scope, variables: Variables) -> set[str]:
    found = set()
    for each in scope.all("proxy_set_header"):
        if len(each.args) == 2:
            value = variables.expand(each.args[1], each.where)
            if len(value) == 1 and isinstance(value[0], Var) and value[0].name.startswith("upstream_http_"):
                found.add(field_name(value[0].name[14:]).lower())
    return found


def mirror(ledger: Ledger, services: Services, scope: Scope, chooser: Chooser) -> str | dict[str, Any] | None:
    """The service that gets copies."""
    lines = [each for each in scope.all("mirror") if each.value != "off"]
    if not lines:
        return None
    location = chooser.of(lines[0].value.partition("?")[0])
    variables = Variables({})
    try:
        address, path = _target(lines[0], location, variables)
    except ClosedError as closed:
        ledger.left(closed.directive, "copies go to a service")
        return None
    name = services.name(address, scope, lines[0].where) if location is not None else None
    if name is None or location is None:
        ledger.left(lines[0], "copies go to a service")
        return None
    if not path or "$" not in path:
        ledger.changed(lines[0], "copies have the path of the request that is copied")
    ledger.taken(*lines, location.directive, *location.block)
    body = scope.one("mirror_request_body")
    ledger.taken(body)
    if body is not None and body.value == "off":
        return {"service": name, "max_body": 0}
    return name


def _target(directive: Directive, location: Location | None, variables: Variables) -> tuple[Any, str | None]:
    """Where a location passes requests on to, and with which path."""
    proxies = [each for each in (location.block if location is not None else ()) if each.name == "proxy_pass"]
    if not proxies:
        raise ClosedError(directive, "the location that it names passes nothing on to a service")
    value: Value = variables.expand(proxies[0].value, proxies[0].where)
    split = None if choice_at(value, variables) is not None else address_of(value)
    if split is None:
        raise ClosedError(directive, "the location that it names passes on to what a request says")
    address, rest = split
    text = literal(rest)
    if text is None:
        text = "".join(piece if isinstance(piece, str) else f"${piece.name}" for piece in rest)
    uri = directive.value.partition("?")[0]
    if location is not None and "$" not in text:
        text = f"{text}{uri.removeprefix(location.path)}" if text else uri
    return address, text
