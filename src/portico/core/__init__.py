"""The words that all other packages use: errors, messages, exchanges, settings."""
