"""Let the steps, which run in processes of their own, find this package as ``python -m`` does."""

from __future__ import annotations

import sys

from benchmarks.plans import ROOT

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
