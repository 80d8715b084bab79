"""What goes into a snapshot: the arrays and tables that the writer turns into a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numroute.model import Changes, Coverage, Operator, Route, Source, Status

FIXED_STATUSES = (Status.NOT_COVERED, Status.INVALID, Status.UNALLOCATED)
"""The statuses of the rows that the route table of a plan begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The whole content of a snapshot.

    ``routes``: the route table. Row 0 answers for all numbers outside the pieces, ``NOT_COVERED``
    or, where everything is covered, ``UNALLOCATED``; row 1 is ``INVALID``. A row alone says
    everything about a number, its status included.
    ``numbers``: uint64[n], the ported numbers, whole E.164, ascending and unique.
    ``number_route``: unsigned integer[n], rows of ``routes``.
    ``ported_at``: uint32[n], seconds since 1970-01-01 UTC, 0 = not known; None = no such column.
    ``donor``: unsigned integer[n], indexes into ``donors``; None = no such column.
    ``range_start``: uint64[m], ascending and unique, the first is 0. Piece i runs from
    ``range_start[i]`` to ``range_start[i + 1] - 1``; numbers that nobody holds are pieces too.
    ``coverage``: the numbers that the plans describe, ascending; empty where it is not stated.
    ``range_route``: unsigned integer[m], rows of ``routes``.
    """

    routes: Sequence[Route]
    numbers: NDArray[np.uint64]
    number_route: NDArray[np.unsignedinteger]
    range_start: NDArray[np.uint64]
    range_route: NDArray[np.unsignedinteger]
    ported_at: NDArray[np.uint32] | None = None
    donor: NDArray[np.unsignedinteger] | None = None
    donors: Sequence[Operator] = ()
    coverage: tuple[Coverage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What becomes of some numbers of a snapshot.

    ``numbers``: uint64[k], whole E.164 numbers, ascending and unique.
    ``present``: bool[k], whether the number has a record afterwards; what follows says something
    only where it has.
    ``number_route``: uint32[k], rows of ``routes``.
    ``ported_at``: uint32[k], seconds since 1970-01-01 UTC, 0 = not known; None = none is known.
    ``donor``: uint32[k], indexes into ``donors``; None = none is known.
    ``routes``, ``donors``: the whole tables afterwards; they begin with the snapshot's rows.
    ``source``: uint32[k], which of the sources in the new snapshot's metadata says so; None where
    nobody needs to know.
    """

    numbers: NDArray[np.uint64]
    present: NDArray[np.bool_]
    number_route: NDArray[np.uint32]
    routes: Sequence[Route]
    ported_at: NDArray[np.uint32] | None = None
    donor: NDArray[np.uint32] | None = None
    donors: Sequence[Operator] = ()
    source: NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a snapshot says of itself.

    ``as_of``: the time up to which the registry's data is known. ``built_at``: when the snapshot
    was written. Both are aware, in UTC. ``counts``: numbers of things by name. ``changes``: against
    the snapshot that was current before; None where there was none or nobody compared.
    ``coverage``: as in :class:`Content`.
    """

    format_version: int
    snapshot_id: str
    as_of: datetime
    built_at: datetime
    sources: tuple[Source, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    changes: Changes | None = None
    coverage: tuple[Coverage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSpec:
    """What is stored under a key: ``dtype`` is empty for a JSON table; ``length`` in elements."""

    dtype: str
    length: int
    sha256: str


def encode_metadata(metadata: Metadata, specs: dict[str, ValueSpec]) -> bytes:
    """Return the metadata as UTF-8 JSON."""
    document = {
        "format_version": metadata.format_version,
        "snapshot_id": metadata.snapshot_id,
        "as_of": _time_to_text(metadata.as_of),
        "built_at": _time_to_text(metadata.built_at),
        "sources": [asdict(source) for source in metadata.sources],
        "counts": dict(metadata.counts),
        **({"changes": asdict(metadata.changes)} if metadata.changes else {}),
        **({"coverage": [asdict(each) for each in metadata.coverage]} if metadata.coverage else {}),
        "values": {key: asdict(spec) for key, spec in specs.items()},
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def decode_metadata(text: bytes) -> tuple[Metadata, dict[str, ValueSpec]]:
    """Return the metadata and the specification of every stored value.

    Raises KeyError, TypeError or ValueError when the document is not what was written.
    """
    document: dict[str, Any] = json.loads(text)
    metadata = Metadata(
        format_version=document["format_version"],
        snapshot_id=document["snapshot_id"],
        as_of=_time_from_text(document["as_of"]),
        built_at=_time_from_text(document["built_at"]),
        sources=tuple(Source(**source) for source in document["sources"]),
        counts=document["counts"],
        changes=Changes(**document["changes"]) if "changes" in document else None,
        coverage=tuple(Coverage(**each) for each in document.get("coverage", ())),
    )
    specs = {key: ValueSpec(**spec) for key, spec in document["values"].items()}
    return metadata, specs


def _time_to_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _time_from_text(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
