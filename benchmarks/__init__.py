"""Benchmarks: `python -m benchmarks`. They record and judge nothing; ratios of sides measured in one run."""
