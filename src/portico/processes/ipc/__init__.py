"""How the processes talk to each other, and what they inherit and share."""
