"""envoy.yaml as a whole."""

from __future__ import annotations

from typing import Final

from portico.config import Config
from portico.render.envoy.keys import TABLE
from portico.render.envoy.listeners import listeners_of
from portico.render.envoy.names import Names
from portico.render.envoy.text import Noted, comment, yaml_text
from portico.render.losses import Losses, Rendering
from portico.render.written import unsaid

NAME: Final = "envoy.yaml"
OTHERWISE: Final = (
    "What Envoy does otherwise, whatever is written:",
    "there are no RateLimit and Server-Timing fields, nor /metrics, /docs and /openapi.json; /health knows nothing of",
    "services; one time (idle_timeout) is for the head, for the body and for WebSockets; a POST is not sent again even",
    "where no connection was made; Link and Refresh are not rewritten; a percent-encoded letter in a path is refused",
    "with 400; other spellings of paths (//, %2F, ;) are not held against patterns of guarded routes; conditions on",
    "the query see parameters as they are sent, and the first of several; responses with Set-Cookie are compressed.",
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
    head = [comment("Written by portico render envoy: change portico.yaml instead."), "#", *map(comment, OTHERWISE), ""]
    text = "\n".join(head) + "\n" + yaml_text(document)
    return Rendering({NAME: text}, losses.all(), frozenset({NAME} if names.has_secret else ()))
