"""Kong's plugins that change requests and responses."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from portico.imports.kong.entities import Plugin
from portico.imports.kong.pieces import Piece, Reading, closed
from portico.imports.located import Value

_TEMPLATE: Final = re.compile(r"\$\(")
_STEPS: Final = ("remove", "rename", "replace", "add", "append")


def request_transformer(plugin: Plugin, reading: Reading) -> Piece:
    """`request-transformer`: fields, the query, JSON, the path and the method of requests."""
    config = plugin.config
    piece = Piece(uri=config.get("replace").text_at("uri"))
    rules: list[dict[str, Any]] = []
    plain: dict[str, Any] = {}
    both = _set_anyway(config)
    for step in _STEPS:
        section = config.get(step)
        for key in section.entries():
            if key not in ("headers", "querystring", "body", "uri"):
                reading.draft.left(section.get(key).where, f"{plugin.name}: {step}.{key}", "there is no counterpart")
        _headers(step, section.get("headers"), plain, rules, both, plugin, reading)
        _query(step, section.get("querystring"), rules, plugin, reading)
        _body(step, section.get("body"), rules, plugin, reading)
    if config.has("http_method"):
        rules.append({"method": config.text_at("http_method")})
    if plain:
        piece.policies["headers"] = {"request": plain}
    if rules:
        piece.policies["transform"] = {"request": rules}
    reading.unknown(plugin, *_STEPS, "http_method")
    return piece


def response_transformer(plugin: Plugin, reading: Reading) -> Piece:
    """`response-transformer`: fields and JSON of responses."""
    rules: list[dict[str, Any]] = []
    plain: dict[str, Any] = {}
    both = _set_anyway(plugin.config)
    for step in _STEPS:
        section = plugin.config.get(step)
        _headers(step, section.get("headers"), plain, rules, both, plugin, reading)
        _body(step, section.get("json"), rules, plugin, reading)
    piece = Piece()
    if plain:
        piece.policies["headers"] = {"response": plain}
    if rules:
        piece.policies["transform"] = {"response": rules}
    reading.unknown(plugin, *_STEPS)
    return piece


def _pairs(value: Value, plugin: Plugin, reading: Reading) -> list[tuple[str, str, Value]]:
    """`NAME:VALUE` of each item; those with Kong's templates are left."""
    found = []
    for item in value.items():
        name, mark, text = item.text().partition(":")
        if _TEMPLATE.search(text) or _TEMPLATE.search(name):
            why = "values are not made of the request: {client_ip}, {request_id}, {consumer} and {claim.NAME} are known"
            reading.draft.left(item.where, f"{plugin.name}: {item.text()}", why)
        elif not mark or not name.strip():
            reading.draft.left(item.where, f"{plugin.name}: {item.text()}", "no name with a value")
        else:
            found.append((name.strip(), text.strip(), item))
    return found


def literal(text: str) -> str:
    """A value that means itself in a field of ours."""
    return text.replace("{", "{{").replace("}", "}}")


def _set_anyway(config: Value) -> set[str]:
    """Fields that are replaced where they are there, and added with the same value where they are not."""
    replaced, added = (set(config.get(step).get("headers").texts()) for step in ("replace", "add"))
    return replaced & added


def _headers(
    step: str,
    value: Value,
    plain: dict[str, Any],
    rules: list[dict[str, Any]],
    both: set[str],
    plugin: Plugin,
    reading: Reading,
) -> None:
    if step == "remove":
        names = [name.partition(":")[0] for name in value.texts()]
        if names:
            plain["remove"] = names
        return
    for name, text, item in _pairs(value, plugin, reading):
        if step == "rename":
            rules.append({"headers": {"rename": {name: text}}})
        elif item.text() in both:
            plain.setdefault("set", {})[name] = literal(text)
        elif step == "replace":
            rules.append({"when": {"headers": {name: True}}, "headers": {"set": {name: literal(text)}}})
        elif step == "append":
            plain.setdefault("add", {}).setdefault(name, []).append(literal(text))
        else:
            plain.setdefault("set", {})[name] = literal(text)
            reading.draft.changed(item.where, f"{plugin.name}: add {name}", "it takes the place of one that is there")


def _query(step: str, value: Value, rules: list[dict[str, Any]], plugin: Plugin, reading: Reading) -> None:
    if step == "remove":
        if value.texts():
            rules.append({"query": {"remove": value.texts()}})
        return
    for name, text, item in _pairs(value, plugin, reading):
        if step == "rename":
            rules.append({"query": {"rename": {name: text}}})
        elif step == "replace":
            rules.append({"when": {"query": {name: True}}, "query": {"set": {name: literal(text)}}})
        elif step == "append":
            rules.append({"query": {"add": {name: literal(text)}}})
        else:
            rules.append({"query": {"set": {name: literal(text)}}})
            reading.draft.changed(item.where, f"{plugin.name}: add {name}", "it takes the place of one that is there")


def _body(step: str, value: Value, rules: list[dict[str, Any]], plugin: Plugin, reading: Reading) -> None:
    """Members of a JSON object; Kong changes forms as well."""
    if step == "remove":
        if value.texts():
            rules.append({"json": {"remove": [_pointer(name) for name in value.texts()]}})
        return
    for name, text, item in _pairs(value, plugin, reading):
        if step == "rename":
            rules.append({"json": {"rename": {_pointer(name): text}}})
        elif step == "append":
            reading.draft.left(item.where, f"{plugin.name}: append {name}", "members of JSON are set, not appended")
        else:
            rules.append({"json": {"set": {_pointer(name): _json(text)}}})
            reading.draft.changed(item.where, f"{plugin.name}: {step} {name}", "it is set, whether or not it is there")


def _pointer(name: str) -> str:
    """A member by Kong's dotted name as a JSON Pointer."""
    return "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in name.split("."))


def _json(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int)) else text


def correlation_id(plugin: Plugin, reading: Reading) -> Piece:
    """`correlation-id`: there is an X-Request-ID in any case."""
    name = plugin.config.text_at("header_name", "Kong-Request-ID")
    reading.unknown(plugin, "header_name", "generator", "echo_downstream")
    if name.lower() == "x-request-id":
        return Piece()
    headers: dict[str, Any] = {"request": {"set": {name: "{request_id}"}}}
    if plugin.config.flag_at("echo_downstream"):
        headers["response"] = {"set": {name: "{request_id}"}}
    return Piece({"headers": headers})


def redirect(plugin: Plugin, reading: Reading) -> Piece:
    """`redirect`: a route that sends clients elsewhere."""
    status = plugin.config.get("status_code").whole() if plugin.config.has("status_code") else 301
    to = plugin.config.text_at("location")
    if status not in (301, 302, 303, 307, 308) or not to:
        return closed("a redirect with a status that is none")
    if plugin.config.flag_at("keep_incoming_path"):
        to = re.sub(r"^(https?://[^/]+).*", r"\1{path}", to)
        reading.changed(plugin, "keep_incoming_path", "of a prefix, {path} is what follows it")
    elif "?" not in to:
        to += "?"
    return Piece(route={"redirect": {"to": to, "status": status}})
