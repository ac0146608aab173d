"""What the configurations of nginx as a peer have in common."""

from __future__ import annotations

# The headers that a gateway sends its service, in place of what the client says, and the request id that it sends the
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
        '"cache":{cache},"reason":null}}';
    access_log access.log gateway buffer=64k flush=1s;
"""

# By address, with a rate that no request is ever refused at.
LIMIT = """\
    limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;
    limit_req zone=clients burst=1000000 nodelay;
"""

# Each in its cheapest form: open files are remembered, and a hit is not written down.
CACHE = """\
    proxy_cache_path {directory}/cache levels=1:2 keys_zone=cache:32m max_size=512m inactive=1h use_temp_path=off;
    proxy_cache cache;
    open_file_cache max=20000 inactive=1h;
    open_file_cache_valid 1h;
"""
