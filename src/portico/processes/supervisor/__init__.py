"""Holds the listening sockets, and starts, restarts and stops all other processes."""
