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
            ("data as of", f"{metadata.as_of.isoformat()} ({age_text(age)})"),
            ("built at", metadata.built_at.isoformat()),
            ("format", f"version {metadata.format_version}"),
            (
                "file",
                f"{size:,} bytes",
            ),
            *((name.replace("_", " "), f"{count:,}") for name, count in metadata.counts.items()),
        ]
    )
    _print_snapshots(opened, metadata.snapshot_id)
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


def _print_snapshots(store: SnapshotStore, current: str) -> None:
    """Print what is kept, the newest publication last, and which of it is current."""
    told = {entry["snapshot"]: entry for entry in store.history() if "snapshot" in entry}
    rows = [(told.get(snapshot_id, {}), snapshot_id) for snapshot_id in store.ids()]
    print_table(
        ("snapshot", "", "data as of", "published", "ported"),
        [
            (
                snapshot_id,
                "current" if snapshot_id == current else "",
                entry.get("as_of", ""),
                entry.get("at", ""),
                f"{entry.get('counts', {}).get('ported', 0):,}" if entry else "",
            )
            for entry, snapshot_id in sorted(rows, key=lambda row: row[0].get("at", ""))
        ],
    )


def age_text(age: timedelta) -> str:
    """Return an age in the two largest units that matter to a reader, with "ago"."""
    if age < timedelta(0):
        return "in the future: is the clock right?"
    minutes = int(age.total_seconds()) // 60
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h ago" if days else f"{hours} h {minutes % 60} min ago"
