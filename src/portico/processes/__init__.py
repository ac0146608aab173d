"""The processes of a running gateway: the supervisor over control and workers."""
