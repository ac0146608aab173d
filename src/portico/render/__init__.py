"""The configuration in other systems' words."""

from portico.render.envoy import render_envoy
from portico.render.gateway_api import render_gateway_api
from portico.render.haproxy import render_haproxy
from portico.render.kong import render_kong
from portico.render.losses import Loss, Rendering
from portico.render.nginx import render_nginx

TARGETS = {
    "envoy": render_envoy,
    "gateway-api": render_gateway_api,
    "haproxy": render_haproxy,
    "kong": render_kong,
    "nginx": render_nginx,
}
"""What renders for each system: it takes a configuration and gives a `Rendering`."""
NAMES = {"envoy": "Envoy", "gateway-api": "a Gateway", "haproxy": "HAProxy", "kong": "Kong", "nginx": "nginx"}
"""What people call these systems."""

# fmt: off
__all__ = [
    "NAMES", "TARGETS", "Loss", "Rendering",
    "render_envoy", "render_gateway_api", "render_haproxy", "render_kong", "render_nginx",
]
# fmt: on
