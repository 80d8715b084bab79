"""``numroute info``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import Any

import click

from numroute.console import plain, print_facts, print_json, print_table
from numroute.index import SnapshotStore
from numroute.settings import json_option, store_option


@click.command()
@store_option
@json_option
def info(store: Path, as_json: bool) -> None:
    """Tell what the store holds and which snapshot is current."""
    opened = SnapshotStore(store)
    ids = opened.ids()
    with opened.open() as snapshot:
        metadata = snapshot.metadata
        size = snapshot.file_bytes
    age = datetime.now(UTC) - metadata.as_of
    ported = metadata.counts.get("ported", 0)
    if as_json:
        document: dict[str, Any] = plain(metadata)
        document |= {
            "store": str(store),
            "age_seconds": age.total_seconds(),
            "file_bytes": size,
            "snapshots": ids,
        }
        print_json(document)
        return
    print_facts(
        [
            ("store", str(store)),
            ("snapshot", metadata.snapshot_id),
            ("data as of", f"{metadata.as_of.isoformat()} ({age_text(age)} ago)"),
            ("built at", metadata.built_at.isoformat()),
            ("format", f"version {metadata.format_version}"),
            (
                "file",
                f"{size:,} bytes" + (f", {size / ported:.2f} per ported number" if ported else ""),
            ),
            *((name.replace("_", " "), f"{count:,}") for name, count in metadata.counts.items()),
            ("snapshots", str(len(ids))),
        ]
    )
    print_table(
        ("source", "kind", "sequence", "rows", "sha256"),
        [
            (
                source.name,
                source.kind,
                "" if source.sequence is None else str(source.sequence),
                f"{source.rows:,}",
                source.sha256[:16],
            )
            for source in metadata.sources
        ],
    )


def age_text(age: timedelta) -> str:
    """Return an age in the two largest units that matter to a reader."""
    minutes = max(0, int(age.total_seconds()) // 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"
