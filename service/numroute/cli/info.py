"""``numroute info``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from numroute.cli.console import (
    counted,
    plain,
    print_facts,
    print_json,
    print_table,
    time_text,
)
from numroute.cli.options import json_option, store_option
from numroute.errors import StoreError, StoreMissingError
from numroute.feed import FeedState, Reconciled, Trouble, Waiting, read_feed_state
from numroute.index import Metadata, SnapshotStore
from numroute.model import Coverage, Source

MEGABYTE = 1_000_000
_FILES_SHOWN = 4
"""Of each kind; a month of increments has 720."""


@click.command()
@store_option
@json_option
def info(store: Path, as_json: bool) -> None:
    """Show what the store holds, which snapshot is current, and the health of its feed."""
    opened = SnapshotStore(store)
    feed = read_feed_state(store)
    metadata, current, failure = None, "", None
    try:
        current = opened.current_id()
        with opened.open() as snapshot:
            metadata, size = snapshot.metadata, snapshot.file_bytes
    except StoreMissingError:
        raise
    except StoreError as error:
        # Still show why the feed has delivered nothing, and which snapshots could be made current.
        failure = error
    try:
        kept = _kept(opened, current)
    except StoreError as error:
        raise failure or error from None
    if as_json:
        document: dict[str, Any] = {"snapshot_id": None}
        if metadata:
            age = datetime.now(UTC) - metadata.as_of
            document = plain(metadata) | {"age_seconds": age.total_seconds(), "file_bytes": size}
        print_json(
            document
            | {
                "store": str(opened.path),
                "snapshots": [row["id"] for row in kept],
                "kept": kept,
                "feed": feed and {**plain(feed), "healthy": feed.healthy},
            }
        )
    else:
        if metadata:
            print_facts(_facts(store, metadata, size, kept))
        _print_feed(feed)
        if kept:
            _print_snapshots(kept)
        if metadata:
            headings = ("source", "sequence", "rows", "kind")
            print_table(headings, _sources(metadata.sources), unbroken=3)
    if failure:
        raise failure


def _facts(
    store: Path, metadata: Metadata, size: int, kept: list[dict[str, Any]]
) -> list[tuple[str, str]]:
    """Return what is known of the current snapshot."""
    kept_bytes = sum(row["file_bytes"] for row in kept)
    age = age_text(datetime.now(UTC) - metadata.as_of)
    return [
        ("store", str(store)),
        ("snapshot", metadata.snapshot_id),
        ("data as of", f"{time_text(metadata.as_of)} ({age})"),
        ("built at", time_text(metadata.built_at)),
        ("covers", coverage_text(metadata.coverage)),
        ("format", f"version {metadata.format_version}"),
        ("file", f"{size:,} bytes"),
        ("kept", f"{counted(len(kept), 'snapshot')}, {kept_bytes:,} bytes"),
        *((name.replace("_", " "), f"{count:,}") for name, count in metadata.counts.items()),
    ]


def _sources(sources: Sequence[Source]) -> list[tuple[str, str, str, str]]:
    """Return rows for the newest files of each kind, and one for the number of others."""
    rows = []
    for kind in dict.fromkeys(source.kind for source in sources):
        files = sorted(
            (source for source in sources if source.kind == kind),
            key=lambda source: source.sequence or 0,
            reverse=True,
        )
        rows += [
            (
                source.name,
                "" if source.sequence is None else str(source.sequence),
                f"{source.rows:,}",
                kind,
            )
            for source in files[:_FILES_SHOWN]
        ]
        if older := files[_FILES_SHOWN:]:
            older_rows = sum(source.rows for source in older)
            rows.append((f"and {counted(len(older), 'file')} more", "", f"{older_rows:,}", kind))
    return rows


def _kept(store: SnapshotStore, current: str) -> list[dict[str, Any]]:
    """Return the kept snapshots as ``--json`` shows them, the last published last."""
    introductions, pinned = store.read_history().introductions(), store.pinned()
    rows = []
    for snapshot_id in store.ids():
        entry = introductions.get(snapshot_id, {})
        rows.append(
            {
                "id": snapshot_id,
                "current": snapshot_id == current,
                "pinned": snapshot_id in pinned,
                "as_of": entry.get("as_of"),
                "at": entry["at"].isoformat() if entry else None,
                "file_bytes": store.snapshot_path(snapshot_id).stat().st_size,
                "counts": entry.get("counts", {}),
                "changes": entry.get("changes"),
            }
        )
    return sorted(rows, key=lambda row: row["at"] or "")


def _print_snapshots(rows: list[dict[str, Any]]) -> None:
    """Print the kept snapshots."""
    print_table(
        ("snapshot", "published", "ported", "MB", ""),
        [
            (
                row["id"],
                time_text(datetime.fromisoformat(row["at"])) if row["at"] else "not known",
                f"{row['counts'].get('ported', 0):,}" if row["counts"] else "",
                f"{row['file_bytes'] / MEGABYTE:,.0f}",
                ", ".join(name for name in ("current", "pinned") if row[name]),
            )
            for row in rows
        ],
        unbroken=4,
    )


def coverage_text(coverage: Sequence[Coverage]) -> str:
    """Return the beginnings of the numbers that a snapshot covers."""
    texts = []
    for ported, remark in ((True, ""), (False, " (ranges only: no ported numbers)")):
        prefixes = [text for each in coverage if each.ported is ported for text in each.prefixes]
        if prefixes:
            texts.append(", ".join(prefixes) + remark)
    return "; ".join(texts) or "not stated"


def age_text(age: timedelta) -> str:
    """Return an age in the two largest units that matter to a reader, with "ago"."""
    if age < timedelta(0):
        return "in the future: is the clock right?"
    minutes = int(age.total_seconds()) // 60
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h ago" if days else f"{hours} h {minutes % 60} min ago"


def _print_feed(state: FeedState | None) -> None:
    """Print the feed's state: what it waits for and what is wrong. Print nothing without a feed."""
    if state is None:
        return
    due = (
        ("next full dump", state.dump_expected_at),
        ("next increments", state.window_expected_at),
    )
    click.echo()
    print_facts(
        [
            ("feed", state.source),
            ("last looked", _when(state.polled_at)),
            ("last success", _when(state.succeeded_at)),
            ("last published", _when(state.published_at)),
            *((name, _due(time)) for name, time in due if time),
            *_reconciled(state.reconciled),
            *_trouble("error", state.error),
            *_trouble("gap", state.gap),
            *_waiting(state.waiting),
            *(
                ("unusable", f"{each.name}: {each.reason} ({each.tries} tries, {_when(each.at)})")
                for each in state.quarantined
            ),
            *(
                ("refused", f"{', '.join(each.names)}: {each.message} ({_when(each.at)})")
                for each in state.refused
            ),
        ]
    )


def _waiting(files: Sequence[Waiting]) -> Iterator[tuple[str, str]]:
    """Yield a line for the files that wait for the same reason: how many, and the first ones."""
    by_reason: dict[str, list[Waiting]] = {}
    for each in files:
        by_reason.setdefault(each.reason, []).append(each)
    for reason, entries in by_reason.items():
        names = [entry.name for entry in entries[:_FILES_SHOWN]]
        if len(entries) > _FILES_SHOWN:
            names.append(f"{len(entries) - _FILES_SHOWN} more")
        since = min(entry.since for entry in entries)
        counts = counted(len(entries), "file")
        yield "waits", f"{counts}: {', '.join(names)}: {reason} (since {_when(since)})"


def _reconciled(last: Reconciled | None) -> list[tuple[str, str]]:
    """Return how the last full dump compared; nothing if there was nothing to compare with."""
    if last is None or (last.published and last.outcome == "not checked"):
        return []
    kept = "" if last.published else "; it came late and is not published"
    text = f"{last.dump}: {last.outcome}: {last.message}{kept} ({_when(last.at)})"
    return [("last full dump", text)]


def _trouble(name: str, trouble: Trouble | None) -> list[tuple[str, str]]:
    if trouble is None:
        return []
    text = f"{trouble.message}. {trouble.hint}" if trouble.hint else trouble.message
    return [(name, f"{text} (since {_when(trouble.since)}, {trouble.count} times)")]


def _when(time: datetime | None) -> str:
    return "never" if time is None else time_text(time)


def _due(time: datetime) -> str:
    late = " (due)" if time < datetime.now(UTC) else ""
    return f"{time_text(time)}{late}"
