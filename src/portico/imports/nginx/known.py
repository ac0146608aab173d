"""What is said of directives that no code here reads."""

from __future__ import annotations

from typing import Final

_STREAMS: Final = "bodies always stream"
_OWN: Final = "Portico does this by itself"
_NOT_NEEDED: Final = "nothing like it is needed"
_FILES: Final = "Portico serves no directories"
PROGRAMS: Final = "programs in it are not read: a policy of your own in Python may do the same"
"""What is said of Lua, njs and Perl."""

TAKEN: Final[dict[str, str]] = {
    **dict.fromkeys(("events", "http", "server", "map", "geo", "types", "set", "break", "if", "internal"), ""),
    **dict.fromkeys(
        (
            *(
                "user",
                "pid",
                "daemon",
                "master_process",
                "worker_rlimit_nofile",
                "worker_cpu_affinity",
                "worker_priority",
            ),
            *("pcre_jit", "use", "multi_accept", "accept_mutex", "accept_mutex_delay", "thread_pool", "lock_file"),
            *("sendfile", "sendfile_max_chunk", "tcp_nopush", "tcp_nodelay", "aio", "directio", "output_buffers"),
            *("types_hash_max_size", "types_hash_bucket_size", "server_names_hash_bucket_size", "working_directory"),
            *("server_names_hash_max_size", "variables_hash_max_size", "variables_hash_bucket_size"),
            *("map_hash_bucket_size", "map_hash_max_size", "proxy_headers_hash_max_size"),
            *("proxy_headers_hash_bucket_size", "limit_req_zone", "limit_conn_zone", "proxy_cache_path", "zone"),
            *("connection_pool_size", "request_pool_size", "client_header_buffer_size", "client_body_buffer_size"),
            *("client_body_temp_path", "client_body_in_file_only", "client_body_in_single_buffer", "open_file_cache"),
            *("open_file_cache_valid", "open_file_cache_min_uses", "open_file_cache_errors", "log_not_found"),
            *(
                "log_subrequest",
                "server_name_in_redirect",
                "port_in_redirect",
                "absolute_redirect",
                "recursive_error_pages",
            ),
            *("reset_timedout_connection", "lingering_close", "lingering_time", "lingering_timeout", "postpone_output"),
            *(
                "keepalive_requests",
                "keepalive_disable",
                "keepalive_time",
                "msie_padding",
                "msie_refresh",
                "gzip_disable",
            ),
            *(
                "gzip_buffers",
                "gzip_http_version",
                "gzip_vary",
                "gzip_proxied",
                "rewrite_log",
                "worker_shutdown_timeout",
            ),
            *("uninitialized_variable_warn", "underscores_in_headers", "ignore_invalid_headers", "charset", "etag"),
            *("source_charset", "override_charset", "charset_types", "default_type", "debug_connection", "env"),
        ),
        _NOT_NEEDED,
    ),
    **dict.fromkeys(
        (
            *("proxy_buffering", "proxy_buffers", "proxy_buffer_size", "proxy_busy_buffers_size", "proxy_temp_path"),
            *("proxy_max_temp_file_size", "proxy_temp_file_write_size", "proxy_request_buffering", "proxy_store"),
            *("proxy_force_ranges", "proxy_socket_keepalive", "proxy_ignore_client_abort"),
        ),
        _STREAMS,
    ),
    **dict.fromkeys(
        (
            *("proxy_http_version", "proxy_pass_request_headers", "proxy_pass_request_body", "server_tokens"),
            *(
                "proxy_redirect",
                "proxy_cookie_path",
                "proxy_cookie_domain",
                "proxy_pass_header",
                "proxy_ignore_headers",
            ),
            *("proxy_cache_lock", "proxy_cache_lock_timeout", "proxy_cache_lock_age", "proxy_cache_min_uses"),
            *("proxy_cache_revalidate", "ssl_session_cache", "ssl_session_timeout", "ssl_session_tickets"),
            *(
                "ssl_prefer_server_ciphers",
                "ssl_buffer_size",
                "ssl_ecdh_curve",
                "ssl_dhparam",
                "ssl_session_ticket_key",
            ),
            *("proxy_ssl_server_name", "proxy_ssl_session_reuse", "proxy_ssl_verify_depth", "proxy_headers_hash_size"),
            *("real_ip_recursive", "ssl_verify_depth"),
        ),
        _OWN,
    ),
}
"""Directives that lose nothing here, and why."""

LEFT: Final[dict[str, str]] = {
    **dict.fromkeys(("root", "alias", "index", "try_files", "autoindex", "disable_symlinks"), _FILES),
    **dict.fromkeys(("stream", "mail"), "Portico speaks HTTP"),
    **dict.fromkeys(("http2", "http3", "quic_retry", "http2_push"), "Portico speaks HTTP/1.1"),
    **dict.fromkeys(
        (
            *(
                "return",
                "rewrite",
                "proxy_pass",
                "proxy_set_header",
                "add_header",
                "proxy_hide_header",
                "allow",
                "deny",
            ),
            *("limit_req", "limit_req_status", "client_max_body_size", "proxy_read_timeout", "proxy_connect_timeout"),
            *("proxy_cache", "proxy_cache_valid", "proxy_cache_key", "gzip_types", "error_page", "limit_except"),
            *("auth_request", "auth_jwt_key_file"),
        ),
        "what it stands in or beside is left",
    ),
    "auth_basic_user_file": "see auth_basic",
    "expires": "Cache-Control is written by policies.headers, or by status by policies.transform",
    "access_log": "there is one access log, of the whole gateway",
    "error_log": "events of the whole gateway go to stderr",
    "location": "no request comes to it",
    "load_module": "modules of nginx are not loaded",
    "resolver": "names are looked up as the system does it, and again after dns_refresh",
    "resolver_timeout": "names are looked up as the system does it",
    "log_format": "the access log has one JSON object for each exchange",
    "ssl_ciphers": "TLS is 1.2 with ECDHE and AES-GCM or ChaCha20, or 1.3",
    **dict.fromkeys(("ssl_stapling", "ssl_stapling_verify", "ssl_trusted_certificate"), "there is no OCSP stapling"),
    **dict.fromkeys(
        ("keepalive_timeout", "client_header_timeout", "client_body_timeout", "send_timeout"),
        "gateway.limits has timeouts for all of the gateway",
    ),
    "large_client_header_buffers": "gateway.limits.header_size is for all of the gateway",
    **dict.fromkeys(
        ("limit_conn", "limit_conn_status"), "gateway.limits.connections_per_client is for all of the port"
    ),
    **dict.fromkeys(("limit_rate", "limit_rate_after"), "there is no limit on the speed of a response"),
    **dict.fromkeys(("sub_filter", "sub_filter_once", "sub_filter_types"), "bodies that are no JSON are not changed"),
}
"""Why directives have no counterpart."""
