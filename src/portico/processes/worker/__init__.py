"""The process that every proxied byte passes through; there is one per core."""
