"""The life of a store's snapshots: ``history``, ``rollback``, ``pin``, ``prune``, ``verify``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

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
from numroute.index import Retention, SnapshotStore, verify_snapshot, writing
from numroute_loader.cli.options import reason_option, retention_options, user_name
from numroute_loader.gate.findings import Outcome, named
from numroute_loader.pipeline import RANGE_HOLDERS


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
    for entry in entries:
        gone = " (removed)" if entry["snapshot"] and entry["snapshot"] not in kept else ""
        print_blocks(
            [
                (
                    f"{time_text(entry['at'])}  {entry['event']}  {entry['snapshot']}{gone}",
                    _details(entry),
                )
            ]
        )
    if known.damaged:
        lines = counted(known.damaged, "unreadable line")
        click.echo(f"warning: {opened.history_path} has {lines}", err=True)


def _details(entry: dict[str, Any]) -> list[str]:
    facts = []
    if entry.get("as_of"):
        facts.append(f"data as of {time_text(datetime.fromisoformat(entry['as_of']))}")
    if entry.get("asked_by"):
        facts.append(f"by {entry['asked_by']}")
    if gate := entry.get("gate"):
        allowed = [each["check"] for each in gate if each["outcome"] == Outcome.ALLOWED.value]
        facts.append(f"gate allowed {', '.join(allowed)}" if allowed else "gate passed")
    if changes := changes_text(entry.get("changes") or entry.get("drift")):
        facts.append(f"changes {changes}")
    if holders := (entry.get("counts") or {}).get(RANGE_HOLDERS):
        facts.append(f"range holders of {holders:,} numbers")
    files = named([source["name"] for source in entry.get("sources", ())])
    origin = entry.get("url") or entry.get("dump") or files
    lines = [", ".join(facts), f"from {origin}" if origin else ""]
    lines += [entry.get("reason", ""), entry.get("message", "")]
    return [line for line in lines if line]


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
        metadata = writer.roll_back(opened.resolve(snapshot), asked_by=user_name(), reason=reason)
    overrides = metadata.counts.get("overrides", 0)
    show(
        {"snapshot": {"id": metadata.snapshot_id, "as_of": metadata.as_of}, "overrides": overrides},
        [
            ("current", metadata.snapshot_id),
            ("data as of", time_text(metadata.as_of)),
            ("overrides", f"{overrides:,}"),
        ],
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


@click.command()
@store_option
@retention_options
@json_option
def prune(*, store: Path, retention: Retention, as_json: bool) -> None:
    """Remove the snapshots that no rule keeps.

    The rules are those of publishing. The current snapshot, the one before it and pinned ones
    always stay.
    """
    opened = SnapshotStore(store)
    with writing(opened) as writer:
        sizes = {each: opened.snapshot_path(each).stat().st_size for each in opened.ids()}
        judged = writer.prune(retention, asked_by=user_name())
    removed = [each.snapshot for each in judged if not each.reasons]
    freed = sum(sizes[each] for each in removed)
    if as_json:
        kept = [{"id": each.snapshot, "reasons": each.reasons} for each in judged if each.reasons]
        print_json({"removed": removed, "kept": kept, "freed_bytes": freed})
        return
    print_table(
        ("snapshot", "published", "bytes", "kept as"),
        [
            (
                each.snapshot,
                time_text(each.published),
                f"{sizes[each.snapshot]:,}",
                ", ".join(each.reasons) or "removed",
            )
            for each in judged
        ],
    )
    print_facts(
        [("removed", f"{len(removed):,} of {counted(len(judged), 'snapshot')}, {freed:,} bytes")]
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
    path = opened.existing(snapshot_id or opened.current_id())
    metadata = verify_snapshot(path)
    size = path.stat().st_size
    document = {"snapshot": {"id": metadata.snapshot_id}, "file_bytes": size, "intact": True}
    facts = [("snapshot", metadata.snapshot_id), ("intact", f"all {size:,} bytes")]
    show(document, facts, as_json=as_json)
