"""How a worker holds under slow, endless, greedy and vanishing clients: `python -m benchmarks.stress`."""
