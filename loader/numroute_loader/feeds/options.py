"""What a watcher is told: how often to look, how long to wait, what to add to a build."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from numroute_loader.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

INTERVAL_SECONDS = 60.0
"""How often the source is listed, unless told otherwise. Files come every two hours."""

SETTLE_SECONDS = 5.0
"""For how long size and time of a file must stay the same before it is taken to be whole."""

PATIENCE = timedelta(minutes=90)
"""How long the windows of a new day wait for the rest of a full dump of which a part has come."""

RETRY_SECONDS_FIRST = 5.0
RETRY_SECONDS_MAX = 900.0
"""Waits after a failure: they double from the first to the last."""

LOGIN_RETRY_SECONDS_FIRST = 300.0
LOGIN_RETRY_SECONDS_MAX = 3600.0
"""Waits after a refused login or a wrong host key: hosts lock accounts that try too often."""

FUTURE_MAX = timedelta(days=1)
"""How far ahead of this machine's clock the time in a file's name may lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """Settings of a watcher.

    ``plan``: files of the open numbering plan that are read with every full dump. ``terms``: as
    ``build`` takes them; what they allow is allowed while this watcher runs. ``consume``: remove
    delivered files once they are of no more use. ``asked_by`` lands in the history.
    """

    spool: Path
    interval_seconds: float = INTERVAL_SECONDS
    settle_seconds: float = SETTLE_SECONDS
    patience: timedelta = PATIENCE
    plan: Sequence[Path] = ()
    terms: Terms = field(default_factory=Terms)
    consume: bool = False
    asked_by: str = ""
