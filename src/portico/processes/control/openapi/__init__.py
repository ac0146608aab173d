"""The documentation of all services: fetched, kept, merged, and shown."""
