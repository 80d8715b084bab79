"""Campaign lists: from a raw list to files ready to send, per operator.

``route_batches`` answers for Arrow batches inside other programs, ``run_campaign`` does what
``numroute route`` does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numroute_campaign.frames import ANSWER_COLUMNS, route_batches
    from numroute_campaign.policy import read_policy
    from numroute_campaign.run import Campaign, run_campaign

__all__ = ["ANSWER_COLUMNS", "Campaign", "read_policy", "route_batches", "run_campaign"]

_MODULES = {
    "ANSWER_COLUMNS": "frames",
    "Campaign": "run",
    "read_policy": "policy",
    "route_batches": "frames",
    "run_campaign": "run",
}


def __getattr__(name: str) -> object:
    """Load a module when something of it is first asked for: most need pyarrow."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
