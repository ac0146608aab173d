"""Connections that are not HTTP of the proxied path: Redis, and TLS contexts with their certificates."""
