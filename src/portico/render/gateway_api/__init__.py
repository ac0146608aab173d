"""The configuration as resources of Kubernetes' Gateway API (1.6, Standard channel)."""

from portico.render.gateway_api.file import render_gateway_api

__all__ = ["render_gateway_api"]
