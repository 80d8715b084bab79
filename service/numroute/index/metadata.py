"""A snapshot's metadata as JSON: what it is, what it was built from, and the arrays it holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from numroute.index.content import Metadata
from numroute.model import Changes, Source


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
        "values": {key: asdict(spec) for key, spec in specs.items()},
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def decode_metadata(text: bytes) -> tuple[Metadata, dict[str, ValueSpec]]:
    """Return the metadata and the specification of every stored value.

    Raises KeyError, TypeError or ValueError when the document is not one of version 1.
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
    )
    specs = {key: ValueSpec(**spec) for key, spec in document["values"].items()}
    return metadata, specs


def _time_to_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _time_from_text(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
