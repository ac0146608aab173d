"""kong.yaml as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from portico.config import Config, ListenerSettings, ResolvedRoute
from portico.render.kong.entities import Entities
from portico.render.kong.keys import TABLE
from portico.render.losses import Losses, Rendering
from portico.render.otherwise import Otherwise, concerning, head
from portico.render.policies import is_guarded
from portico.render.written import unsaid
from portico.render.yaml_text import document

_HEAD = """Written by portico render kong: change portico.yaml instead.

Kong 3 reads it without a database (KONG_DATABASE=off, KONG_DECLARATIVE_CONFIG=kong.yaml), decK beside one
(deck gateway sync). It is for the router that Kong has without being told otherwise (traditional_compatible).
"""
_OTHERWISE: Final[Otherwise] = (
    ("", "its errors are its own, 404 where a method is not taken (no 405), and preflights get 200"),
    (
        "",
        "there are no RateLimit, Server-Timing and Proxy-Status fields, nor /metrics, /docs and /openapi.json; /health"
        " knows nothing of services, and is asked after routes with hosts, methods or fields",
    ),
    (
        "",
        "paths lose doubled slashes and dot segments before they are compared and sent on, and come decoded"
        " and encoded anew: Portico keeps the former, and refuses the latter and what services may read as another"
        " route's",
    ),
    ("prefix", "no browser is redirected from a prefix to its slash"),
    ("prefix", "redirects, links and cookies of a service are not rewritten"),
    ("fields", "values of fields are compared without case, and any line of a field that comes twice counts"),
    (
        "service",
        "a client's own X-Forwarded-For stays in front of its address, and fields that only a gateway may send"
        " are not dropped",
    ),
    ("rate_limit", "limits count in windows that begin with each minute, hour, day or month"),
)


def render_kong(config: Config) -> Rendering:
    """`kong.yaml` for this configuration."""
    losses = Losses(config)
    for path, why in unsaid(config.written, TABLE):
        losses.add(path, why)
    entities = Entities(config, losses, https_only=_is_https_only(config.gateway.listeners))
    entities.add_own()
    served, closed = _served(config, losses)
    entities.close(closed)
    entities.add_all(served)
    otherwise = concerning(config, _OTHERWISE)
    first = "\n".join([_HEAD, *_environment(config), "", *head("Kong", otherwise)])
    text = document(entities.tree(), first, spaced=True)
    return Rendering({"kong.yaml": text}, losses.all(), otherwise=otherwise)


def _served(config: Config, losses: Losses) -> tuple[list[ResolvedRoute], dict[str, str]]:
    """The routes that are written, and why some are closed. Kong shows its routes on all ports.

    One that some listeners do not have is left out: its requests go where they go there. That must not lead around a
    guard, or what a route answers itself: such a route is closed instead.
    """
    listeners = config.gateway.listeners
    if len(listeners) < 2:
        return [*config.served_by(listeners[0])], {}
    shown = [{route.name for route in config.served_by(listener)} for listener in listeners]
    everywhere = set.intersection(*shown)
    served, closed = [], {}
    for route in config.all_routes:
        if route.name in everywhere:
            served.append(route)
        elif is_guarded(route) or route.answer is not None or route.maintenance is not None:
            served.append(route)
            closed[route.name] = "Kong shows a route on all its ports, and some listeners do not have this one"
            losses.add(route.source, f"{closed[route.name]}: it is closed and answers 503")
        else:
            why = "Kong shows a route on all its ports: this one, which some listeners do not have, is left out"
            losses.add(route.source, why)
    return served, closed


def _is_https_only(listeners: tuple[ListenerSettings, ...]) -> bool:
    return all(listener.tls is not None for listener in listeners)


def _environment(config: Config) -> Iterator[str]:
    """What Kong has in its environment."""
    gateway = config.gateway
    listeners = gateway.listeners
    listen = [_listen(each) for each in listeners]
    listen += [
        f"{each.host}:{each.tls.redirect_from}" for each in listeners if each.tls is not None and each.tls.redirect_from
    ]
    yield "Of the gateway itself, this belongs into Kong's environment:"
    said: dict[str, Any] = {"KONG_PROXY_LISTEN": ", ".join(dict.fromkeys(listen))}
    pair = next((each.tls.pair for each in listeners if each.tls is not None and each.tls.pair is not None), None)
    if pair is not None:
        said |= {"KONG_SSL_CERT": pair.certificate, "KONG_SSL_CERT_KEY": pair.key}
        oldest = min(each.tls.min_version for each in listeners if each.tls is not None)
        if oldest == "1.3":
            said |= {"KONG_SSL_PROTOCOLS": "TLSv1.3"}
    if gateway.trusted_proxies:
        by_protocol = any(each.proxy_protocol for each in listeners)
        said |= {
            "KONG_TRUSTED_IPS": ",".join(map(str, gateway.trusted_proxies)),
            "KONG_REAL_IP_HEADER": "proxy_protocol" if by_protocol else "X-Forwarded-For",
            "KONG_REAL_IP_RECURSIVE": "on",
        }
    said |= {"KONG_NGINX_WORKER_PROCESSES": gateway.workers}
    instances = (each for service in config.services.values() for each in service.upstream().instances)
    if any(each.scheme == "https" for each in instances):
        said |= {"KONG_LUA_SSL_TRUSTED_CERTIFICATE": "system"}
    if gateway.log.access != "stdout":
        paths: Mapping[str, str] = {"stderr": "/dev/stderr"}
        said |= {"KONG_PROXY_ACCESS_LOG": paths.get(gateway.log.access, gateway.log.access)}
    yield from (f"  {name}={value}" for name, value in said.items())


def _listen(listener: ListenerSettings) -> str:
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    ending = (" ssl" if listener.tls is not None else "") + (" proxy_protocol" if listener.proxy_protocol else "")
    return f"{host}:{listener.port}{ending}"
