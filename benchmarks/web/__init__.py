"""``numroute web``: lookups over HTTP, and lists sent to it."""

from benchmarks.web.lookups import lookups

BENCHMARKS = {"lookups": lookups}
