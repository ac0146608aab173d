"""Three small services to put behind the gateway: gemini, atc and portfolio."""
