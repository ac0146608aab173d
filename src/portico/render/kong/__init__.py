"""The configuration in Kong's declarative format (3.0 and later, without a database or for decK)."""

from portico.render.kong.file import render_kong

__all__ = ["render_kong"]
