"""Client identity: forwarded fields, request ids, client certificates."""
