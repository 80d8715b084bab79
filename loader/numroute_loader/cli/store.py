"""The life of a store's snapshots: ``history``, ``rollback``, ``pin``, ``prune``, ``verify``."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from numroute.cli.console import (
    changes_text,
    counted,
    print_blocks,
    print_facts,
    print_json,
    print_table,
    show,
    time_text,
)
from numroute.cli.options import json_option, store_option
from numroute.errors import NoSnapshotError, StoreError
from numroute.index import Override, Retention, SnapshotStore, verify_snapshot, writing
from numroute_loader.cli.options import reason_option, retention_options, user_name
from numroute_loader.pipeline import RANGE_HOLDERS

NAMES_SHOWN_MAX = 8
"""With more files than this, only the first and the last are named."""

_RETENTION_NAMES = ("keep_last", "keep_daily", "keep_within")


@click.command()
@store_option
@click.option(
    "--last", metavar="N", type=click.IntRange(1), help="Only the newest N events; by default all."
)
@json_option
def history(*, store: Path, last: int | None, as_json: bool) -> None:
    """Show what happened to the store's snapshots, the newest event last.

    What was published, from which files, by whom, with what changes, and what the gate said; what
    was rolled back, pinned and removed.
    """
    opened = SnapshotStore(store)
    known = opened.read_history()
    entries = known.entries[-last:] if last else known.entries
    kept = set(opened.ids())
    if as_json:
        for entry in entries:
            print_json({**entry, "kept": entry["snapshot"] in kept})
        return
    print_blocks((_heading(entry, kept), _details(entry)) for entry in entries)
    if known.damaged:
        click.echo(
            f"warning: {opened.history_path} has {counted(known.damaged, 'unreadable line')}",
            err=True,
        )


def _heading(entry: dict[str, Any], kept: set[str]) -> str:
    snapshot = entry["snapshot"]
    gone = " (removed)" if snapshot and snapshot not in kept else ""
    return f"{time_text(entry['at'])}  {entry['event']}  {snapshot}{gone}".rstrip()


def _details(entry: dict[str, Any]) -> list[str]:
    as_of = entry.get("as_of")
    changes = changes_text(entry.get("changes") or entry.get("drift"))
    holders = (entry.get("counts") or {}).get(RANGE_HOLDERS)
    facts = [
        f"data as of {time_text(datetime.fromisoformat(as_of))}" if as_of else "",
        f"by {entry['asked_by']}" if entry.get("asked_by") else "",
        _gate(entry.get("gate", ())),
        f"changes {changes}" if changes else "",
        f"range holders of {holders:,} numbers" if holders else "",
    ]
    return [
        line
        for line in (
            ", ".join(fact for fact in facts if fact),
            f"from {_origin(entry)}" if _origin(entry) else "",
            entry.get("reason", ""),
            entry.get("message", ""),
        )
        if line
    ]


def _origin(entry: dict[str, Any]) -> str:
    """Return the origin of an event's data: a URL, a dump, or the files of a snapshot."""
    if "url" in entry:
        return str(entry["url"])
    if "dump" in entry:
        return str(entry["dump"])
    names = [source["name"] for source in entry.get("sources", ())]
    if len(names) > NAMES_SHOWN_MAX:
        return f"{names[0]} ... {names[-1]} ({len(names):,} files)"
    return ", ".join(names)


def _gate(findings: list[dict[str, Any]]) -> str:
    allowed = [finding for finding in findings if finding["outcome"] == "allowed"]
    if allowed:
        return f"gate allowed {', '.join(finding['check'] for finding in allowed)}"
    return "gate passed" if findings else ""


@click.command()
@click.argument("snapshot", metavar="ID|previous")
@store_option
@reason_option
@json_option
def rollback(*, snapshot: str, store: Path, reason: str, as_json: bool) -> None:
    """Make an older snapshot current again, at once.

    All its bytes are verified first. Running services take it over within a second.
    """
    opened = SnapshotStore(store)
    with writing(opened) as writer:
        before = _overrides(opened)
        metadata = writer.roll_back(opened.resolve(snapshot), asked_by=user_name(), reason=reason)
        after = _overrides(opened)
    if before is not None and before != after:
        click.echo(
            f"warning: the overrides changed with it: {len(after or ()):,} now, {len(before):,} "
            "before; `numroute-load override apply FILE` sets them",
            err=True,
        )
    show(
        {"snapshot": {"id": metadata.snapshot_id, "as_of": metadata.as_of}},
        [("current", metadata.snapshot_id), ("data as of", time_text(metadata.as_of))],
        as_json=as_json,
    )


def _pin_command(name: str, text: str) -> click.Command:
    @click.command(name, help=text)
    @click.argument("snapshot", metavar="ID|current|previous")
    @store_option
    @reason_option
    @json_option
    def command(*, snapshot: str, store: Path, reason: str, as_json: bool) -> None:
        opened = SnapshotStore(store)
        with writing(opened) as writer:
            snapshot_id = opened.resolve(snapshot)
            change = writer.pin if name == "pin" else writer.unpin
            change(snapshot_id, asked_by=user_name(), reason=reason)
        document = {"snapshot": {"id": snapshot_id}, "pinned": name == "pin"}
        show(document, [(f"{name}ned", snapshot_id)], as_json=as_json)

    return command


pin = _pin_command("pin", "Keep a snapshot until it is unpinned, regardless of the retention.")
unpin = _pin_command("unpin", "Let the retention decide about a pinned snapshot again.")


def _overrides(store: SnapshotStore) -> tuple[Override, ...] | None:
    """Return the current snapshot's overrides; None if it cannot be read."""
    try:
        with store.open() as current:
            return current.overrides
    except StoreError:
        return None


@click.command()
@store_option
@retention_options
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
@json_option
def prune(*, store: Path, retention: Retention, dry_run: bool, as_json: bool) -> None:
    """Remove the snapshots that no rule keeps.

    Without a --keep option, the rules are those of publishing; with one or more, exactly those. The
    current snapshot, the one before it and pinned ones always stay.
    """
    opened = SnapshotStore(store)
    rules = _only_named(retention)
    with writing(opened) as writer:
        sizes = {each: opened.snapshot_path(each).stat().st_size for each in opened.ids()}
        judged = writer.prune(rules, dry_run=dry_run, asked_by=user_name())
    removed = [each.snapshot for each in judged if not each.reasons]
    freed = sum(sizes[each] for each in removed)
    if as_json:
        kept = [{"id": each.snapshot, "reasons": each.reasons} for each in judged if each.reasons]
        print_json({"removed": removed, "kept": kept, "freed_bytes": freed, "dry_run": dry_run})
        return
    gone = "would be removed" if dry_run else "removed"
    print_table(
        ("snapshot", "published", "bytes", "kept as"),
        [
            (
                each.snapshot,
                time_text(each.published),
                f"{sizes[each.snapshot]:,}",
                ", ".join(each.reasons) or gone,
            )
            for each in judged
        ],
    )
    print_facts(
        [(gone, f"{len(removed):,} of {counted(len(judged), 'snapshot')}, {freed:,} bytes")]
    )


def _only_named(retention: Retention) -> Retention:
    """Return the rules given on the command line, or all rules if none is."""
    context = click.get_current_context()
    last, daily, within = (
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        for name in _RETENTION_NAMES
    )
    if not (last or daily or within):
        return retention
    return Retention(
        last=retention.last if last else 0,
        daily=retention.daily if daily else 0,
        within=retention.within if within else timedelta(0),
    )


@click.command()
@click.argument("snapshot_id", required=False, metavar="[ID]")
@store_option
@json_option
def verify(snapshot_id: str | None, store: Path, as_json: bool) -> None:
    """Read a whole snapshot and check that every byte is as it was written.

    Without an ID, the current snapshot.
    """
    opened = SnapshotStore(store)
    checked = snapshot_id or opened.current_id()
    path = opened.snapshot_path(checked)
    if checked not in opened.ids():
        raise NoSnapshotError(
            store, f"there is no snapshot {checked!r}", hint="`numroute info` lists the snapshots"
        )
    metadata = verify_snapshot(path)
    size = path.stat().st_size
    document = {"snapshot": {"id": metadata.snapshot_id}, "file_bytes": size, "intact": True}
    facts = [("snapshot", metadata.snapshot_id), ("intact", f"all {size:,} bytes")]
    show(document, facts, as_json=as_json)
