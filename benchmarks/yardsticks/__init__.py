"""Other stores of the same numbers, and servers that do nothing but answer."""

from benchmarks.yardsticks.other_stores import stores

BENCHMARKS = {"stores": stores}
