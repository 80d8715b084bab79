"""Campaign lists."""

from benchmarks.lists.routing import campaign

BENCHMARKS = {"campaign": campaign}
