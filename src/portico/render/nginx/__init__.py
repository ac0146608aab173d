"""The configuration as nginx's (1.22 and later, with no module but those that every package of it has)."""

from portico.render.nginx.file import render_nginx

__all__ = ["render_nginx"]
