"""What is seen of exchanges: metrics and the access log."""
