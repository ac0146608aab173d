"""nginx's configuration as Portico's."""

from portico.imports.nginx.file import import_nginx

__all__ = ["import_nginx"]
