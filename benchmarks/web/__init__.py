"""``numroute web``: lookups over HTTP, and lists sent to it."""

from benchmarks.web.lookups import lookups
from benchmarks.web.sending import lists

BENCHMARKS = {"lookups": lookups, "lists": lists}
