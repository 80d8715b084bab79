"""The index: one immutable, memory-mapped file per snapshot, and the folder that keeps them."""

from numroute.index.content import Content, Metadata, Source
from numroute.index.explain import Explanation, Layer, explain
from numroute.index.snapshot import Answers, Snapshot
from numroute.index.store import SnapshotStore
from numroute.index.verify import verify_snapshot

__all__ = [
    "Answers",
    "Content",
    "Explanation",
    "Layer",
    "Metadata",
    "Snapshot",
    "SnapshotStore",
    "Source",
    "explain",
    "verify_snapshot",
]
