"""The configuration in HAProxy's words."""

from portico.render.haproxy.file import render_haproxy

__all__ = ["render_haproxy"]
