"""The types that all other packages use: errors, messages, exchanges, settings."""
