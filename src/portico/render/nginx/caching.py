"""A cache in front of a service: `proxy_cache`, for what may be given to anybody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.config import ResolvedRoute
from portico.core.fields import METHOD_OVERRIDES
from portico.policies.cache import CacheSettings
from portico.proxy.cache.rules import TTL_STATUSES
from portico.render.nginx.marks import Marks
from portico.render.nginx.names import Names
from portico.render.nginx.proxies import scheme_and_host
from portico.render.nginx.text import above, comment, literal, of_request, pattern, word
from portico.render.policies import policy_path

ZONE: Final = "proxy_cache_path cache levels=1:2 keys_zone=cache:10m max_size=1g inactive=1d use_temp_path=off;"
_STATUS: Final = {
    "HIT": "hit",
    "STALE": "hit",
    "UPDATING": "hit",
    "REVALIDATED": "fwd=stale; fwd-status=304",
    "MISS": "fwd=uri-miss",
    "EXPIRED": "fwd=stale",
    "BYPASS": "fwd=bypass",
}
"""What `Cache-Status` (RFC 9211) has for nginx's words."""


def caching(names: Names, route: ResolvedRoute, marks: Marks) -> Iterator[str]:
    """The lines of a route's cache; `marks` says of responses whether they are from there."""
    if "cache" not in route.policies:
        return
    settings, scope = route.policies["cache"]
    at = policy_path(route, scope, "cache")
    if "auth" in route.policies:
        names.losses.add(at, "nginx stores nothing of a route whose clients say who they are")
        return
    _list(names, settings, at)
    names.blocks.setdefault("cache", [comment("What is stored, in a directory beside this file"), ZONE])
    marks.add("Cache-Status", _status(names))
    apart = _apart(names, settings)
    yield "proxy_cache cache;"
    yield "proxy_buffering on;"
    query = "" if settings.key.query == "none" else "$query"
    fields = "".join(f" ${{{of_request(each)[1:]}}}" for each in settings.key.headers)
    cookies = " $http_cookie" if settings.key.cookies else ""
    whose = route.name if route.side is None else f"{route.name}:{route.side.label}"
    yield f'proxy_cache_key "{whose} {scheme_and_host(names.config)}$path{query}{fields}{cookies}";'
    yield "proxy_cache_methods GET HEAD;"
    yield f"proxy_cache_bypass {apart};"
    yield f"proxy_no_cache {apart} {' '.join(_unstored(names, settings))};"
    if settings.ttl:
        statuses = sorted(TTL_STATUSES if settings.statuses is None else settings.statuses)
        yield f"proxy_cache_valid {' '.join(map(str, statuses))} {max(round(settings.ttl), 1)}s;"
    yield "proxy_cache_lock on;"
    yield "proxy_cache_revalidate on;"
    stale = ["updating"] if settings.stale_while_revalidate else []
    stale += ["error", "timeout", "http_500", "http_502", "http_503", "http_504"] if settings.stale_if_error else []
    if stale:
        yield f"proxy_cache_use_stale {' '.join(stale)};"
    yield "proxy_cache_background_update on;"


def cache_fields(route: ResolvedRoute) -> dict[str, str]:
    """The fields that belong to the key: the service gets the line that is in it, and no second one of the name."""
    settings, _ = route.policies.get("cache", (None, ""))
    return (
        {}
        if settings is None or "auth" in route.policies
        else {each: of_request(each) for each in settings.key.headers}
    )


def _list(names: Names, settings: CacheSettings, at: tuple[str | int, ...]) -> None:
    """What nginx does otherwise."""
    if not isinstance(settings.key.query, str):
        names.losses.add((*at, "key", "query"), "nginx's key has the whole query: fewer requests find what is stored")
    if "methods" in settings.model_fields_set and "QUERY" in settings.methods:
        names.losses.add((*at, "methods"), "nginx stores no responses to QUERY")
    if "GET" not in settings.methods:
        names.losses.add((*at, "methods"), "nginx stores responses to GET in any case")
    for key in ("stale_while_revalidate", "stale_if_error"):
        if getattr(settings, key):
            names.losses.add((*at, key), "nginx serves a stale response for as long as it has it: a day without use")
    if settings.ttl and (settings.ttl < 1 or settings.ttl != int(settings.ttl)):
        names.losses.add((*at, "ttl"), f"nginx counts whole seconds: {max(round(settings.ttl), 1)}")


def _apart(names: Names, settings: CacheSettings) -> str:
    """The variable that is something for requests to which nothing stored may be given.

    They have credentials (a cookie is none whose name is in the key), ask for a fresh response, would switch to another
    protocol, or may be taken for ones with another method.
    """
    cookie = "$http_cookie"
    if settings.key.cookies:
        own = "|".join(map(literal, settings.key.cookies))
        lines = [f'{pattern(f"~^(?:(?:{own})=[^;]*(?:; *|$))*$")} "";', "default 1;"]
        cookie = names.map("other_cookies", "$http_cookie", ['"" "";', *lines])
    expression = r"~*no-cache|no-store|max-age=0(?!\d)"
    fresh = names.map("asks_anew", "$http_cache_control", [f"{pattern(expression)} 1;", 'default "";'])
    overrides = sorted({of_request(each.decode()) for each in METHOD_OVERRIDES})
    source = "".join(["$http_authorization", cookie, "$switch_to", fresh, *overrides])
    return names.map("is_apart", f'"{source}"', ['"" "";', "default 1;"])


def _unstored(names: Names, settings: CacheSettings) -> Iterator[str]:
    """The variables that are something for responses that are not stored."""
    lines = [f"{pattern(f'~^0*(?:{above(settings.max_object)})$')} 1;", 'default "";']
    yield names.map("is_too_large", "$upstream_http_content_length", lines)
    # What the service says to some caches alone, nginx does not read: better nothing is stored.
    yield from ("$upstream_http_" + each.lower().replace("-", "_") for each in settings.targets)
    if settings.statuses is not None:
        kept = "|".join(map(str, sorted(settings.statuses)))
        yield names.map("is_not_kept", "$upstream_status", [f'{pattern(f"~(?:^|[ ,])(?:{kept})$")} "";', "default 1;"])


def _status(names: Names) -> str:
    lines = [f"{each} {word(f'portico; {said}')};" for each, said in _STATUS.items()]
    return names.map("cache_status", "$upstream_cache_status", [*lines, 'default "";'])
