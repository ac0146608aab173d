"""The configuration in other systems' words."""

from portico.render.haproxy import render_haproxy
from portico.render.losses import Loss, Rendering
from portico.render.nginx import render_nginx

TARGETS = {"nginx": render_nginx, "haproxy": render_haproxy}
"""What renders for each system: it takes a configuration and gives a `Rendering`."""

__all__ = ["TARGETS", "Loss", "Rendering", "render_haproxy", "render_nginx"]
