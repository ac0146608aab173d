"""The configuration in force, seen and changed from outside: its document, its history, and how another comes in."""
