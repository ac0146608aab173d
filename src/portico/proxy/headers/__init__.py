"""Who the client is: forwarded fields, request ids, client certificates."""
