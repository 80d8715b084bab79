"""Campaign lists: a generator with planted defects, and the benchmark of ``numroute route``."""
