"""What a request costs beside the peers: `python -m benchmarks` (see README.md)."""
