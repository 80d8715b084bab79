"""The index: one immutable, memory-mapped file per snapshot, and the folder that keeps them."""

from numroute.index.compare import Comparison, compare
from numroute.index.content import Content, Metadata, Patch
from numroute.index.explain import explain
from numroute.index.overrides import Override
from numroute.index.publishing import StoreWriter, writing
from numroute.index.snapshot import Answers, Snapshot, verify_snapshot
from numroute.index.store import Retention, SnapshotStore
from numroute.index.writer import Patched
from numroute.model import Changes, Source

__all__ = [
    "Answers",
    "Changes",
    "Comparison",
    "Content",
    "Metadata",
    "Override",
    "Patch",
    "Patched",
    "Retention",
    "Snapshot",
    "SnapshotStore",
    "Source",
    "StoreWriter",
    "compare",
    "explain",
    "verify_snapshot",
    "writing",
]
