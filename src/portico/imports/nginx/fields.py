"""Header fields: what services are told, what is changed of responses, and CORS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.values import duration, seconds
from portico.imports.nginx.variables import Choice, Value, Var, Variables, literal
from portico.policies.editable import editable
from portico.policies.templates import Template

_SENT: Final = {
    "connection": None,
    "upgrade": None,
    "via": None,
    "x-real-ip": ("$remote_addr", "$realip_remote_addr", "$http_x_real_ip"),
    "x-forwarded-for": ("$proxy_add_x_forwarded_for", "$remote_addr", "$http_x_forwarded_for"),
    "x-forwarded-proto": ("$scheme", "$http_x_forwarded_proto"),
    "x-forwarded-scheme": ("$scheme",),
    "x-forwarded-host": ("$host", "$http_host", "$host:$server_port", "$server_name"),
    "x-forwarded-port": ("$server_port",),
    "x-forwarded-server": ("$host", "$server_name"),
    "x-forwarded-prefix": None,
    "x-request-id": ("$request_id", "$http_x_request_id"),
    "traceparent": None,
    "x-original-uri": ("$request_uri",),
    "content-length": ("", "$content_length"),
    "content-type": ("$content_type",),
    "user-agent": ("$http_user_agent",),
    "accept-encoding": ("$http_accept_encoding",),
    "te": None,
    "keep-alive": None,
}
"""Fields that Portico sends by itself, with the values that it means by them: None for whatever is written."""

_STANDS: Final = {"remote_addr": "{client_ip}", "request_id": "{request_id}", "dollar": "$"}
_SECRET: Final = re.compile(r"authorization|api[-_]?key|token|secret|passw", re.IGNORECASE)
_CORS: Final = "access-control-"


def template(value: Value) -> str | None:
    """A value of a field with `{names}`; None where Portico has none for a variable, or cannot send it."""
    parts = []
    for piece in value:
        if isinstance(piece, str):
            parts.append(piece.replace("{", "{{").replace("}", "}}"))
        elif piece.name in _STANDS:
            parts.append(_STANDS[piece.name])
        else:
            return None
    text = "".join(parts)
    try:
        Template(text)
    except ValueError:
        return None
    return text


def request_fields(
    ledger: Ledger, scope: Scope, variables: Variables, prefix: str = "proxy"
) -> tuple[dict[str, Any], Value | None]:
    """What `proxy_set_header` changes of requests, and the `Host` that services get: None for the service's own."""
    edits: dict[str, Any] = {}
    host: Value | None = None
    for each in scope.all(f"{prefix}_set_header"):
        if len(each.args) != 2:
            continue
        name, written = each.args
        value = variables.expand(written, each.where)
        key = name.lower()
        if key == "host":
            host = value
            ledger.taken(each)
        elif _is_sent(key, written, value):
            ledger.taken(each, why="Portico sends this by itself")
        elif literal(value) == "":
            _remove(ledger, each, edits, name)
        elif value == (Var(f"upstream_http_{key.replace('-', '_')}"),):
            ledger.taken(each, why="pass_headers")
        elif (text := template(value)) is None:
            ledger.left(each, "there is no value for this variable here: the field is not sent")
        elif (why := _refused(name, ("request", "set"))) is not None:
            ledger.left(each, why)
        elif _SECRET.search(name) and text == literal(value):
            variable = ledger.secret(name, text)
            ledger.changed(each, f"the value is a secret: it is read from the environment variable {variable.name}")
            edits.setdefault("set", {})[name] = variable
        else:
            ledger.taken(each)
            edits.setdefault("set", {})[name] = text
    return edits, host


def _is_sent(key: str, written: str, value: Value) -> bool:
    if key not in _SENT:
        return False
    meant = _SENT[key]
    shown = "".join(piece if isinstance(piece, str) else f"${piece.name}" for piece in value)
    return meant is None or written in meant or shown in meant


def _remove(ledger: Ledger, directive: Directive, edits: dict[str, Any], name: str) -> None:
    why = _refused(name, ("request", "remove"))
    if why is None and name.lower() != "accept-encoding":
        edits.setdefault("remove", []).append(name)
    ledger.taken(directive, why=why or "")


def _refused(name: str, where: tuple[str, str]) -> str | None:
    """Why a field cannot be edited; None where it can."""
    try:
        editable(name, where=where)
    except ValueError as error:
        return " ".join(str(error).split())
    return None


def response_fields(ledger: Ledger, scope: Scope, variables: Variables) -> tuple[dict[str, Any], list[Directive]]:
    """What `add_header` and `proxy_hide_header` change of responses; and the lines that are about CORS."""
    edits: dict[str, Any] = {}
    cors: list[Directive] = []
    for each in scope.all("proxy_hide_header"):
        name = each.value
        if name.lower().startswith(_CORS):
            ledger.taken(each, why="cors writes this")
        elif (why := _refused(name, ("response", "remove"))) is not None:
            ledger.left(each, why)
        else:
            ledger.taken(each)
            if name not in edits.setdefault("remove", []):
                edits["remove"].append(name)
    for each in scope.all("add_header"):
        if len(each.args) < 2:
            ledger.left(each, "a name and a value are written")
        elif each.value.lower().startswith(_CORS):
            cors.append(each)
        else:
            _add(ledger, variables, each, edits)
    return edits, cors


def _add(ledger: Ledger, variables: Variables, directive: Directive, edits: dict[str, Any]) -> None:
    name, value = directive.args[0], variables.expand(directive.args[1], directive.where)
    text = template(value)
    if literal(value) == "" or (name.lower() == "vary" and literal(value) in ("Origin", "Accept-Encoding")):
        ledger.taken(directive, why="Portico says this where it holds")
        return
    if text is None:
        reason = "there is no value for this variable here" if literal(value) is None else "no field has such a value"
        ledger.left(directive, f"{reason}: the field is not sent")
        return
    if (why := _refused(name, ("response", "add"))) is not None:
        ledger.left(directive, why)
        return
    if name in edits.get("remove", ()):
        edits["remove"].remove(name)
        verb = "set"
    else:
        verb = "add"
    known = edits.setdefault(verb, {}).get(name)
    edits[verb][name] = text if known is None else [*(known if isinstance(known, list) else [known]), text]
    if not edits.get("remove", True):
        del edits["remove"]
    if "always" in directive.args[2:]:
        ledger.taken(directive)
    else:
        ledger.changed(directive, "responses of every status get it, errors too")


# ---- how long responses may be kept

_WITH_EXPIRY: Final = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308]
"""The statuses that `expires` is for."""


def expiry(ledger: Ledger, scope: Scope) -> dict[str, Any] | None:
    """What `expires` says of responses, as a rule of `transform`."""
    directive = scope.one("expires")
    if directive is None or directive.args == ("off",):
        return None
    if len(directive.args) != 1 or (value := _kept_for(directive.value)) is None:
        ledger.left(directive, "a time of day, a variable and modified have no counterpart")
        return None
    ledger.taken(directive, why="as Cache-Control, by which caches go before Expires")
    return {"when": {"status": _WITH_EXPIRY}, "headers": {"set": {"Cache-Control": value}, "remove": ["Expires"]}}


def _kept_for(time: str) -> str | None:
    """The `Cache-Control` that nginx writes for a time; None for what is none."""
    if time == "max":
        return "max-age=315360000"
    if time == "epoch" or (time.startswith("-") and seconds(time[1:]) is not None):
        return "no-cache"
    age = seconds(time)
    return None if age is None else f"max-age={int(age)}"


# ---- CORS


def cors_policy(
    ledger: Ledger, lines: Sequence[Directive], variables: Variables, origins: list[str] | None = None
) -> dict[str, Any] | None:
    """The policy of the lines that are about CORS; None where nobody can say which origins they mean."""
    said = {each.value.lower().removeprefix(_CORS): each for each in lines}
    allowed = said.get("allow-origin")
    if allowed is None and not origins:
        for each in lines:
            ledger.left(each, "no Access-Control-Allow-Origin stands beside it")
        return None
    if origins is None and allowed is not None:
        origins = _origins(variables.expand(allowed.args[1], allowed.where), variables)
    if not origins:
        for each in lines:
            ledger.left(each, "which origins this allows cannot be said here: pages of other origins may not call")
        return None
    policy: dict[str, Any] = {"allow_origins": origins}
    ledger.taken(*lines)
    for key, field in (
        ("allow-methods", "allow_methods"),
        ("allow-headers", "allow_headers"),
        ("expose-headers", "expose_headers"),
    ):
        if key in said and (words := _words(variables.expand(said[key].args[1], said[key].where))):
            policy[field] = words
    if (line := said.get("allow-credentials")) is not None:
        if "*" in origins:
            ledger.changed(line, "not in effect while every origin may call: name the origins")
        else:
            policy["allow_credentials"] = True
    if (line := said.get("max-age")) is not None:
        time = seconds(literal(variables.expand(line.args[1], line.where)) or "")
        if time and time != 600:
            policy["max_age"] = duration(time)
    return policy


def _words(value: Value) -> list[str] | None:
    text = literal(value)
    if text is None:
        return None
    words = [word for word in re.split(r"[,\s]+", text) if word]
    return words if all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", word) for word in words) else None


def _origins(value: Value, variables: Variables) -> list[str] | None:
    text = literal(value)
    if text is not None:
        return [text] if text == "*" or re.fullmatch(r"https?://[^\s*,/]+", text) else None
    if value == (Var("http_origin"),):
        return ["*"]
    if len(value) == 1 and isinstance(value[0], Var):
        choice = variables.choices.get(value[0].name)
        if choice is not None and choice.source == (Var("http_origin"),):
            return _origins_of(choice)
    return None


def _origins_of(choice: Choice) -> list[str] | None:
    if literal(choice.default) not in ("", None) or not choice.entries:
        return ["*"] if choice.default == (Var("http_origin"),) else None
    found: list[str] = []
    for key, value, _ in choice.entries:
        if literal(value) == "":
            continue
        named = origins_of_expression(key.lstrip("~*")) if key.startswith("~") else [key]
        if named is None:
            return None
        found += named
    return found or None


def origins_of_expression(expression: str) -> list[str] | None:
    """The origins that a regular expression means, with `*.` for what is below a name; None where that is unclear."""
    if not expression.startswith("^") or not expression.endswith("$"):
        return None
    found = []
    for each in _alternatives(expression[1:-1]):
        text = re.sub(r"\(\?:", "(", each).replace("\\/", "/").replace("\\-", "-")
        text = re.sub(r"\[a-z0-9-\]\+\(\\\.\[a-z0-9-\]\+\)\*", "*", text)
        text = re.sub(r"(?:\[[^\]]*\]|\.)[*+]", "*", text)
        schemes = ["http", "https"] if text.startswith("https?:") else [text.partition(":")[0]]
        rest = text.partition("://")[2]
        hosts = [rest]
        optional = re.match(r"\((\*)\\\.\)\?(.*)|\(([A-Za-z0-9-]+)\\\.\)\?(.*)", rest)
        if optional:
            hosts = [optional[2] or optional[4], f"{optional[1] or optional[3]}\\.{optional[2] or optional[4]}"]
        for host in hosts:
            name = host.replace("\\.", ".").replace("(:[0-9]+)?", "")
            if not re.fullmatch(r"(?:\*\.)?[A-Za-z0-9.-]+(?::\d+)?", name) or not all(
                s in ("http", "https") for s in schemes
            ):
                return None
            if "." in re.sub(r"\\\.", "", host):
                return None  # a dot that stands for any letter
            found += [f"{scheme}://{name}" for scheme in schemes]
    return found


def _alternatives(text: str) -> list[str]:
    """Those of an expression, at its top or in the one group that it has."""
    group = re.fullmatch(r"([^()|]*)\(((?:[^()|]|\([^()]*\))*(?:\|(?:[^()|]|\([^()]*\))*)+)\)([^()|]*)", text)
    if (group is not None and not group[2].startswith("?")) or (group is not None and group[2].startswith("?:")):
        inner = group[2].removeprefix("?:")
        return [f"{group[1]}{each}{group[3]}" for each in inner.split("|")]
    return text.split("|")
