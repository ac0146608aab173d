"""Portico as a whole: real sockets, real processes, on the loopback."""
