"""Sockets and HTTP: what both sides and all protocols share. It does not depend on the gateway."""
