"""From a request's host, path and method to a route, at a cost that does not grow with their number."""
