"""Benchmarks: every answer is checked, every figure stands beside a yardstick of the same run."""
