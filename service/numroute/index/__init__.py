"""The index: one immutable, memory-mapped file per snapshot, and the folder that keeps them."""

from numroute.index.compare import Comparison, compare
from numroute.index.content import Content, Metadata, Patch, Patched
from numroute.index.explain import explain
from numroute.index.overrides import Override
from numroute.index.retention import Retention
from numroute.index.snapshot import Answers, Snapshot
from numroute.index.store import SnapshotStore
from numroute.index.verify import verify_snapshot
from numroute.model import Changes, Explanation, Layer, Source

__all__ = [
    "Answers",
    "Changes",
    "Comparison",
    "Content",
    "Explanation",
    "Layer",
    "Metadata",
    "Override",
    "Patch",
    "Patched",
    "Retention",
    "Snapshot",
    "SnapshotStore",
    "Source",
    "compare",
    "explain",
    "verify_snapshot",
]
