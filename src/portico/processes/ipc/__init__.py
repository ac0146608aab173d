"""How the processes communicate, and what they inherit and share."""
