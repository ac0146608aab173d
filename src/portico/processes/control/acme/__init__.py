"""Certificates ordered from authorities over ACME (RFC 8555): state, the order of each, what workers get of it."""
