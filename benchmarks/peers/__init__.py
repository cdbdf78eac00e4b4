"""Benchmarks of the kit beside the alternatives to it: `python -m benchmarks.peers`."""
