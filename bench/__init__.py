"""Benchmarks: every figure is a ratio taken in one run, with its floor and its peers beside it: ``make bench``."""
