"""Campaign lists: from a raw list to files ready to send, per operator.

``route_batches`` answers for Arrow batches inside other programs, ``run_campaign`` does what
``numroute route`` does, and ``Summary`` says what a run did; reports are made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numroute_campaign.frames import ANSWER_COLUMNS, answer_fields, route_batches
    from numroute_campaign.policy import read_policy
    from numroute_campaign.run import Campaign, run_campaign
    from numroute_campaign.summary import Summary

__all__ = [
    "ANSWER_COLUMNS",
    "Campaign",
    "Summary",
    "answer_fields",
    "read_policy",
    "route_batches",
    "run_campaign",
]

_MODULES = {
    "ANSWER_COLUMNS": "frames",
    "Campaign": "run",
    "Summary": "summary",
    "answer_fields": "frames",
    "read_policy": "policy",
    "route_batches": "frames",
    "run_campaign": "run",
}


def __getattr__(name: str) -> object:
    """Load a module when something of it is first asked for: most need pyarrow."""
    if name in _MODULES:
        from importlib import import_module  # noqa: PLC0415 - keeps the package cheap to import

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
