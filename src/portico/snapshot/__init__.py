"""From a configuration to compiled routes, and the live state that goes from one snapshot to the next."""
