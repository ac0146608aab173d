"""The configuration as Envoy's (API v3, static resources; 1.40 and later)."""

from portico.render.envoy.file import render_envoy

__all__ = ["render_envoy"]
