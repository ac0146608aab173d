"""One file per application: what it needs, how it is started, the lines that are written, and what a user does."""
