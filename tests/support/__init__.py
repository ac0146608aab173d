"""What tests, chaos runs, conformance, fuzzing and benchmarks share."""
