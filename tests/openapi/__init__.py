"""OpenAPI documents, read and merged."""
