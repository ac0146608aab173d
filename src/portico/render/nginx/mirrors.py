"""Copies of requests for other services: `mirror`, with a location that decides which requests are copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from portico.config import ResolvedRoute
from portico.config.mirror import MirrorSettings
from portico.config.problems import KeyPath
from portico.config.services import preserved
from portico.render.nginx.fields import told
from portico.render.nginx.names import Names
from portico.render.nginx.splits import percent
from portico.render.nginx.text import above, literal, mixed, pattern, word
from portico.render.nginx.upstreams import group, tls_lines


def mirroring(names: Names, route: ResolvedRoute, path: str, changed: Mapping[str, str]) -> Iterator[str]:
    """The lines that have a route's requests copied, to `path` with its query (in nginx's variables).

    `changed` are the fields of requests that the route sets or removes.
    """
    for index, mirror in enumerate(route.mirrors):
        upstream = names.service(mirror.service, mirror.version)
        if not upstream.instances or not mirror.share:
            continue
        at = (*route.source, "mirror", *((index,) if len(route.mirrors) > 1 else ()))
        if "max_in_flight" in mirror.model_fields_set:
            names.losses.add((*at, "max_in_flight"), "nginx does not count the copies that are under way")
        label = names.free(f"mirror_of_{route.name}")
        names.inner[f"/.portico/{label}"] = [*_copying(names, route, mirror, label, path, changed, at)]
        yield f"mirror /.portico/{label};"


def _copying(
    names: Names,
    route: ResolvedRoute,
    mirror: MirrorSettings,
    label: str,
    path: str,
    changed: Mapping[str, str],
    at: KeyPath,
) -> Iterator[str]:
    upstream = names.service(mirror.service, mirror.version)
    first = upstream.instances[0]
    yield "internal;"
    yield "if ($switch_to) { return 204; }"
    yield "if ($http_x_portico_mirror) { return 204; }"
    if mirror.methods:
        methods = pattern("^(?:" + "|".join(map(literal, mirror.methods)) + ")$")
        yield f"if ($request_method !~ {methods}) {{ return 204; }}"
    yield f"if ($content_length ~ {pattern(f'^0*(?:{above(mirror.max_body)})$')}) {{ return 204; }}"
    if mirror.share < 1:
        lines = [f"{percent(names, at, mirror.share)} 1;", '* "";']
        copied = names.split(f"copied_{label}", f'"{label}:$request_id"', lines)
        yield f'if ({copied} = "") {{ return 204; }}'
    said = {**told(names.config), "x-portico-mirror": word(route.name)}
    lowered = {name.lower(): name for name in said}
    removed = dict.fromkeys(mirror.remove_headers, '""')
    own = {"Host": "$http_host" if preserved(upstream.preserve_host, first) else word(first.authority)}
    for name, value in {**changed, **own, **removed, "Connection": '""', "Upgrade": '""'}.items():
        said[lowered.get(name.lower(), name)] = value
    yield from (f"proxy_set_header {name} {value};" for name, value in said.items())
    scheme = "https" if first.scheme == "https" else "http"
    if scheme == "https":
        yield from tls_lines(upstream)
    times = upstream.timeouts
    seconds = mirror.timeout or times.total or times.response
    yield f"proxy_read_timeout {seconds:g}s;"
    yield "proxy_next_upstream off;"
    yield f"proxy_pass {mixed(f'{scheme}://{group(names, mirror.service, mirror.version)}{path}')};"
