"""Measurements of what ARCHITECTURE.md promises; run one with ``python -m benchmarks.NAME``."""
