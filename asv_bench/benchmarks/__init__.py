"""Benchmarks, one module a question; the problems are defined once, in ``problems``."""
