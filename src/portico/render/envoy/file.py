"""envoy.yaml as a whole."""

from __future__ import annotations

from typing import Final

from portico.config import Config
from portico.render.envoy.keys import TABLE
from portico.render.envoy.listeners import listeners_of
from portico.render.envoy.names import Names
from portico.render.envoy.text import Noted, comment, yaml_text
from portico.render.losses import Losses, Rendering
from portico.render.otherwise import Otherwise, concerning, head
from portico.render.written import unsaid

NAME: Final = "envoy.yaml"
_OTHERWISE: Final[Otherwise] = (
    (
        "",
        "there are no RateLimit and Server-Timing fields, no /metrics, /docs and /openapi.json; /health knows nothing"
        " of services",
    ),
    ("", "OPTIONS * gets 404, and methods that Envoy's parser does not know, such as QUERY, get 400"),
    ("", "a path with a percent-encoding of what needs none (/%61pi for /api) is refused with 400"),
    (
        "",
        "a path that services may read as one of another route (//, %2F, ;, a backslash, %25 and two digits, a space"
        " at the end of a segment) is refused with 400 where that route has a guard, and sent on where it has none;"
        " below the beginning of a pattern with a guard each such path is refused, whether the pattern takes it or not",
    ),
    ("service", "a POST is not sent again, even where no connection was made"),
    ("service", "one time (idle_timeout) is for the head, for pauses in the body and for WebSockets"),
    ("service", "clients' fields x-envoy-… are dropped, and a PUT without a body gets Content-Length: 0"),
    ("prefix", "Link and Refresh of a service are not rewritten, nor is Domain of cookies"),
    ("fields", "of a field that comes twice, on which a route depends, any line counts; Portico answers 400"),
    ("query", "a parameter that comes twice, on whose value a route depends, is refused with 400 though both fit"),
    ("auth", "tokens that were revoked are not known to be"),
    ("compress", "responses with Set-Cookie are compressed, too"),
    ("rate_limit", "limits are counted by each Envoy for itself"),
)


def render_envoy(config: Config) -> Rendering:
    """`envoy.yaml` for this configuration."""
    losses = Losses(config)
    names = Names(config, losses)
    for path, why in unsaid(config.written, TABLE):
        losses.add(path, why)
    listeners = list(listeners_of(names))
    clusters = [Noted(names.notes[name], cluster) for name, cluster in names.clusters.items()]
    document = {
        "static_resources": {"listeners": listeners, **({"clusters": clusters} if clusters else {})},
        "layered_runtime": {
            "layers": [
                {
                    "name": "limits",
                    # Envoy refuses expressions of more than 100 instructions, which is little more than one name.
                    "static_layer": {"re2": {"max_program_size": {"error_level": 1_000_000, "warn_level": 1_000_000}}},
                }
            ]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": config.gateway.limits.connections,
                    },
                }
            ]
        },
    }
    otherwise = concerning(config, _OTHERWISE)
    first = [
        comment("Written by portico render envoy: change portico.yaml instead."),
        "#",
        *map(comment, head("Envoy", otherwise)),
        "",
    ]
    text = "\n".join(first) + "\n" + yaml_text(document)
    return Rendering({NAME: text}, losses.all(), frozenset({NAME} if names.has_secret else ()), otherwise)
