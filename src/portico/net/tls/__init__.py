"""TLS contexts, and the certificates that they are made of."""
