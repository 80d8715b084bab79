"""``numroute info``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from numroute.cli.console import counted, plain, print_facts, print_json, print_table, time_text
from numroute.cli.options import json_option, store_option
from numroute.errors import StoreError
from numroute.feed import FeedState, Waiting, read_feed_state
from numroute.index import SnapshotStore
from numroute.model import Coverage, Source

_FILES_SHOWN = 4
"""Of each kind; a month of increments has 720."""


@click.command()
@store_option
@json_option
def info(store: Path, as_json: bool) -> None:
    """Show what the store holds, which snapshot is current, and the health of its feed."""
    opened = SnapshotStore(store)
    feed = read_feed_state(store)
    metadata, current, size, failure = None, "", 0, None
    try:
        current = opened.current_id()
        with opened.open() as snapshot:
            metadata, size = snapshot.metadata, snapshot.path.stat().st_size
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
        document |= {"store": str(store), "snapshots": [row["id"] for row in kept], "kept": kept}
        print_json(document | {"feed": feed and {**plain(feed), "healthy": feed.healthy}})
    else:
        if metadata:
            kept_bytes = sum(row["file_bytes"] for row in kept)
            age_text = _age_text(datetime.now(UTC) - metadata.as_of)
            counts = metadata.counts.items()
            print_facts(
                [
                    ("store", str(store)),
                    ("snapshot", metadata.snapshot_id),
                    ("data as of", f"{time_text(metadata.as_of)} ({age_text})"),
                    ("built at", time_text(metadata.built_at)),
                    ("covers", _coverage_text(metadata.coverage)),
                    ("format", f"version {metadata.format_version}"),
                    ("file", f"{size:,} bytes"),
                    ("kept", f"{counted(len(kept), 'snapshot')}, {kept_bytes:,} bytes"),
                    *((name.replace("_", " "), f"{count:,}") for name, count in counts),
                ]
            )
        if feed:
            click.echo()
            print_facts(_feed_facts(feed))
        if kept:
            print_table(("snapshot", "published", "ported", "MB", ""), map(_row, kept), unbroken=4)
        if metadata:
            headings = ("source", "sequence", "rows", "kind")
            print_table(headings, _sources(metadata.sources), unbroken=3)
    if failure:
        raise failure


def _sources(sources: Sequence[Source]) -> Iterator[tuple[str, str, str, str]]:
    """Yield rows for the newest files of each kind, and one for the number of others."""
    for kind in dict.fromkeys(source.kind for source in sources):
        files = [source for source in sources if source.kind == kind]
        files.sort(key=lambda source: source.sequence or 0, reverse=True)
        for source in files[:_FILES_SHOWN]:
            sequence = "" if source.sequence is None else str(source.sequence)
            yield source.name, sequence, f"{source.rows:,}", kind
        if older := files[_FILES_SHOWN:]:
            rows = sum(source.rows for source in older)
            yield f"and {counted(len(older), 'file')} more", "", f"{rows:,}", kind


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


def _row(kept: dict[str, Any]) -> tuple[str, ...]:
    """Return a kept snapshot as a row for people."""
    ported = kept["counts"].get("ported")
    return (
        kept["id"],
        time_text(datetime.fromisoformat(kept["at"])) if kept["at"] else "not known",
        "" if ported is None else f"{ported:,}",
        f"{kept['file_bytes'] / 1e6:,.0f}",
        ", ".join(name for name in ("current", "pinned") if kept[name]),
    )


def _coverage_text(coverage: Sequence[Coverage]) -> str:
    """Return the beginnings of the numbers that a snapshot covers."""
    texts = []
    for ported, remark in ((True, ""), (False, " (ranges only: no ported numbers)")):
        prefixes = [text for each in coverage if each.ported is ported for text in each.prefixes]
        if prefixes:
            texts.append(", ".join(prefixes) + remark)
    return "; ".join(texts) or "not stated"


def _age_text(age: timedelta) -> str:
    """Return an age in the two largest units that matter to a reader, with "ago"."""
    if age < timedelta(0):
        return "in the future: is the clock right?"
    minutes = int(age.total_seconds()) // 60
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h ago" if days else f"{hours} h {minutes % 60} min ago"


def _feed_facts(state: FeedState) -> Iterator[tuple[str, str]]:
    """Yield the feed's state: what it waits for and what is wrong."""
    yield "feed", state.source
    yield "last looked", _when(state.polled_at)
    yield "last success", _when(state.succeeded_at)
    yield "last published", _when(state.published_at)
    for name, due in (
        ("next full dump", state.dump_expected_at),
        ("next increments", state.window_expected_at),
    ):
        if due:
            yield name, f"{time_text(due)}{' (due)' if due < datetime.now(UTC) else ''}"
    last = state.reconciled
    if last and not (last.published and last.outcome == "not checked"):
        kept = "" if last.published else "; it came late and is not published"
        text = f"{last.dump}: {last.outcome}: {last.message}{kept} ({_when(last.at)})"
        yield "last full dump", text
    for name, trouble in (("error", state.error), ("gap", state.gap)):
        if trouble:
            text = f"{trouble.message}. {trouble.hint}" if trouble.hint else trouble.message
            yield name, f"{text} (since {_when(trouble.since)}, {trouble.count} times)"
    yield from _waiting(state.waiting)
    for bad in state.quarantined:
        yield "unusable", f"{bad.name}: {bad.reason} ({bad.tries} tries, {_when(bad.at)})"
    for refused in state.refused:
        names = ", ".join(refused.names)
        yield "refused", f"{names}: {refused.message} ({_when(refused.at)})"


def _waiting(files: Sequence[Waiting]) -> Iterator[tuple[str, str]]:
    """Yield a line for the files that wait for the same reason: how many, and the first ones."""
    for reason in dict.fromkeys(each.reason for each in files):
        entries = [each for each in files if each.reason == reason]
        names = [entry.name for entry in entries[:_FILES_SHOWN]]
        if len(entries) > _FILES_SHOWN:
            names.append(f"{len(entries) - _FILES_SHOWN} more")
        since = _when(min(entry.since for entry in entries))
        counts = counted(len(entries), "file")
        yield "waits", f"{counts}: {', '.join(names)}: {reason} (since {since})"


def _when(time: datetime | None) -> str:
    return "never" if time is None else time_text(time)
