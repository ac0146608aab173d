"""What clients see while instances, workers and gateways break: `python -m chaos`."""
