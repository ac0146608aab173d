"""The documentation as a site: what is generated of it, its links, and its examples, which are played."""
