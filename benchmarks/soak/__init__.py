"""Hours of mixed load, reloads and faults: what of it stays in the memory of the gateway's processes."""
