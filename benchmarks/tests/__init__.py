"""Tests of the benchmarks: one that cannot find a wrong answer proves nothing."""
