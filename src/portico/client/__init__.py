"""What a service needs to stand behind a Portico gateway; nothing of the gateway itself is loaded."""
