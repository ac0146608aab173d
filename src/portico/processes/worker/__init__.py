"""The process in which every proxied byte passes; there is one per core."""
