"""nginx, where it is installed, and what its configurations here have in common."""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path

from .site import Site, output_of, program

# Started by root, nginx lets its workers run as another user, who can't enter a private directory.
_USER = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""

# keepalive_requests: by default a connection is closed after 1,000 requests, which would be measured too.
_FRAME = """\
{user}
daemon off;
worker_processes {workers};
pid nginx.pid;
error_log stderr error;
{modules}
events {{ worker_connections 16384; }}
http {{
    default_type application/json;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{http}
}}
"""

# client_body_buffer_size: none of the benchmark's small contents goes to a file.
# proxy_max_temp_file_size 0: a response waits for the client in the kernel's buffers, never in a file.
UPSTREAM = """\
    upstream backend {{
        server 127.0.0.1:{backend};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_max_temp_file_size 0;
    client_body_buffer_size 64k;
"""

NO_LOG = "    access_log off;\n"


def command(site: Site, http: str, modules: str = "") -> list[str]:
    """Writes the configuration with `http` inside its http block and gives the command that serves it."""
    path = site.write("nginx.conf", _FRAME.format(user=_USER, workers=site.workers, modules=modules, http=http))
    return [program("nginx") or "nginx", "-p", str(site.directory), "-c", str(path), "-e", "stderr"]


def version() -> str | None:
    """nginx's version, or None where it is not installed."""
    nginx = program("nginx")
    return output_of(nginx, "-v").strip().rpartition("/")[2] if nginx else None


def module(name: str) -> Path | None:
    """A loadable module's file, or None where it is not installed."""
    nginx = program("nginx")
    found = re.search(r"--modules-path=(\S+)", output_of(nginx, "-V")) if nginx else None
    path = Path(found[1]) / f"{name}.so" if found else None
    return path if path and path.exists() else None


def lua_library(name: str) -> Path | None:
    """The file of a library for Lua written in C, or None where it is not installed."""
    return next(Path("/").glob(f"usr/lib/*/lua/5.1/{name}.so"), None)
