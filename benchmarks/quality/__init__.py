"""How good the suggestions are beside baselines: `python -m benchmarks.quality`."""
