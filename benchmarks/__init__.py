"""Benchmarks: one command per claim, each with its peer in the same run. `python -m benchmarks` runs all."""
