"""What all nginx configurations here have in common: the backend's, and those of the peers."""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path

from benchmarks.peer import Site, output_of, program

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
"""

# The headers that a gateway tells its service, in place of what the client says, and the request id that it tells the
# client.
FORWARDED = """\
    proxy_set_header Host $proxy_host;
    proxy_set_header X-Request-ID $request_id;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Prefix /api/bench;
    add_header X-Request-ID $request_id;
"""

# Buffered like the log of every gateway that means to be fast; $uri leaves out the query, where secrets may be.
LOG = """\
    log_format gateway escape=json '{{"timestamp":"$time_iso8601","method":"$request_method","path":"$uri",'
        '"client_ip":"$remote_addr","status_code":$status,"duration_ms":$request_time,"request_id":"$request_id",'
        '"trace_id":"$request_id","service":"bench","route":"bench","upstream":"$upstream_addr","upstream_ms":"$upstream_response_time",'
        '"bytes_in":$request_length,"bytes_out":$bytes_sent,"attempts":1,"user":"{user}",'
        '"cache":null,"reason":null}}';
    access_log access.log gateway buffer=64k flush=1s;
"""

NO_LOG = "    access_log off;\n"

# By address, with a rate that no request is ever refused at.
LIMIT = """\
    limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;
    limit_req zone=clients burst=1000000 nodelay;
"""


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
