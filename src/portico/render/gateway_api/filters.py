"""What becomes of a request and its response: the filters of a rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from portico.config import ResolvedRoute
from portico.config.problems import KeyPath
from portico.policies.cors import OWN_FIELDS, CorsSettings
from portico.policies.headers import FieldEdits, HeadersSettings
from portico.render.gateway_api.backends import Backends
from portico.render.losses import Losses
from portico.render.policies import SECURITY, filled, policy_path

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
"""Those that the API knows."""
_MOST: Final = 16
"""Fields of one list of a filter."""
_ORIGIN: Final = re.compile(r"https?://(?:(?:\*\.)?(?:[a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(?::[0-9]{1,5})?")
_VALUE: Final = 4096


def filters_of(losses: Losses, backends: Backends, route: ResolvedRoute) -> list[dict[str, Any]]:
    """Those of a route's policies and copies."""
    found = []
    settings, scope = route.policies.get("cors", (None, ""))
    if settings and (cors := _cors(losses, settings, policy_path(route, scope, "cors"))) is not None:
        found.append({"type": "CORS", "cors": cors})
    settings, scope = route.policies.get("headers", (None, ""))
    if settings:
        found += _fields(losses, settings, route, policy_path(route, scope, "headers"))
    found += _mirrors(losses, backends, route)
    return found


# ---- CORS


def _cors(losses: Losses, settings: CorsSettings, at: KeyPath) -> dict[str, Any] | None:
    anyone = "*" in settings.allow_origins
    origins = ["*"] if anyone else [each for each in settings.allow_origins if _ORIGIN.fullmatch(each)]
    if not anyone and len(origins) < len(settings.allow_origins):
        losses.add((*at, "allow_origins"), "the Gateway API has no words for some of these origins: they are left out")
    if not origins:
        return None
    methods = ["*"] if "*" in settings.allow_methods else [each for each in settings.allow_methods if each in METHODS]
    if "*" not in methods and len(methods) < len(settings.allow_methods):
        losses.add((*at, "allow_methods"), f"the Gateway API has {', '.join(METHODS)} alone")
    said: dict[str, Any] = {"allowOrigins": origins[:64], "allowMethods": methods}
    credentials = settings.allow_credentials and not anyone
    if settings.allow_headers:
        said["allowHeaders"] = ["*"] if "*" in settings.allow_headers else settings.allow_headers[:64]
    listed = {name.lower() for name in settings.expose_headers}
    own = [] if "*" in listed and not credentials else [name for name in OWN_FIELDS if name.lower() not in listed]
    said["exposeHeaders"] = [*settings.expose_headers, *own][:64]
    if credentials:
        said["allowCredentials"] = True
    return {**said, "maxAge": max(1, int(settings.max_age))}


# ---- fields


def _fields(losses: Losses, settings: HeadersSettings, route: ResolvedRoute, at: KeyPath) -> Iterator[dict[str, Any]]:
    request = _edits(losses, settings.request, route, (*at, "request"))
    if request:
        yield {"type": "RequestHeaderModifier", "requestHeaderModifier": request}
    response = _edits(losses, settings.response, route, (*at, "response"))
    if settings.security:
        losses.add((*at, "security"), "the Gateway API sets these fields, whatever a service says of them itself")
        edits = settings.response
        written = {name.lower() for name in (*edits.set, *edits.add, *edits.remove)}
        added = [{"name": name, "value": value} for name, value in SECURITY.items() if name.lower() not in written]
        response["set"] = [*response.get("set", ()), *added]
    if response:
        yield {"type": "ResponseHeaderModifier", "responseHeaderModifier": response}


def _edits(losses: Losses, edits: FieldEdits, route: ResolvedRoute, at: KeyPath) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for verb, fields in (("set", edits.set), ("add", edits.add)):
        lines = [
            {"name": name, "value": text}
            for name, values in fields.items()
            if (text := _value(losses, values or [], route, (*at, verb, name))) is not None
        ]
        if lines:
            found[verb] = lines
    if edits.remove:
        found["remove"] = [*edits.remove]
    for verb, lines in found.items():
        if len(lines) > _MOST:
            losses.add((*at, verb), f"a filter has {_MOST} of these at most: the rest of them is left out")
            found[verb] = lines[:_MOST]
    return found


def _value(losses: Losses, values: list[str], route: ResolvedRoute, at: KeyPath) -> str | None:
    if len(values) > 1:
        losses.add(at, "the Gateway API has one value of a field: the others are left out")
    text = filled(values[0], route) if values else ""
    if text is None:
        losses.add(at, "the Gateway API fills nothing into fields: this one is left out")
    elif not text or len(text) > _VALUE:
        losses.add(at, "the Gateway API has no field that is empty, or so long: this one is left out")
        return None
    return text


# ---- copies


def _mirrors(losses: Losses, backends: Backends, route: ResolvedRoute) -> Iterator[dict[str, Any]]:
    for index, mirror in enumerate(route.mirrors):
        at: KeyPath = (*route.source, "mirror", *((index,) if len(route.mirrors) > 1 else ()))
        refs = backends.refs(mirror.service, mirror.version)
        if not refs:
            losses.add(at, "it has no instances that Kubernetes reaches: nothing is copied")
            continue
        if len(refs) > 1:
            losses.add(at, "a copy goes to one Service: the other instances get none")
        for key in sorted(mirror.model_fields_set - {"service", "version", "share"}):
            losses.add((*at, key), "the Gateway API copies all requests, whatever their method, body and number")
        said: dict[str, Any] = {"backendRef": dict(refs[0][0])}
        percent = mirror.share * 100
        if percent == round(percent):
            said |= {"percent": round(percent)} if percent < 100 else {}
        else:
            said["fraction"] = {"numerator": round(mirror.share * 100_000), "denominator": 100_000}
        yield {"type": "RequestMirror", "requestMirror": said}
