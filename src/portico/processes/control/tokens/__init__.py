"""Tokens issued to consumers: signing in, and what belongs to it. See docs/sign-in.md."""
