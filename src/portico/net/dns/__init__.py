"""Questions to name servers that the system's resolver cannot be asked: records with ports, and how long they hold."""
