"""The rules of HTTP caching as cases, played to any cache that stands before a service."""
