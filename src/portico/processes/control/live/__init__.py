"""What happens now: figures, exchanges and events, for as long as somebody watches."""
