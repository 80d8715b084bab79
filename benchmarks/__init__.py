"""Benchmarks of numroute.

They check every answer, report ratios to yardsticks that were measured in the same run, and never
fail on a clock.
"""
