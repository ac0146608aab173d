"""The configuration in other systems' words."""

from portico.render.envoy import render_envoy
from portico.render.losses import Loss, Rendering
from portico.render.nginx import render_nginx

TARGETS = {"nginx": render_nginx, "envoy": render_envoy}
"""What renders for each system: it takes a configuration and gives a `Rendering`."""

__all__ = ["TARGETS", "Loss", "Rendering", "render_envoy", "render_nginx"]
