"""TLS contexts and their certificates."""
