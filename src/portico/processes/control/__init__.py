"""The control process: what is not on the path of a proxied request."""
