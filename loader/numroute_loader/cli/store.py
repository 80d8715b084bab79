"""A store's snapshots: their history and differences, going back, pins, pruning, overrides."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
from pyarrow import csv

from numroute.cli import console
from numroute.cli.group import Group
from numroute.cli.options import FILE, json_option, store_option
from numroute.errors import InputError
from numroute.files import replacing
from numroute.index import Retention, Snapshot, SnapshotStore, verify_snapshot, writing
from numroute.index.compare import Comparison, Kind, changed_numbers, compare
from numroute_loader.cli.options import reason_option, retention_options, user_name
from numroute_loader.differences import range_holders
from numroute_loader.gate.findings import Outcome, named
from numroute_loader.pipeline import RANGE_HOLDERS

OPERATORS_SHOWN_MAX = 4
"""Operators of the printed matrix, which has room in 80 columns; the rest share a row."""


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
            console.print_json({**entry, "kept": entry["snapshot"] in kept})
        return
    console.print_blocks(_event_block(entry, kept) for entry in entries)
    if known.damaged:
        lines = console.counted(known.damaged, "unreadable line")
        click.echo(f"warning: {opened.history_path} has {lines}", err=True)


def _event_block(entry: dict[str, Any], kept: set[str]) -> tuple[str, list[str]]:
    """Return an event's heading, and the lines of what is known about it."""
    gone = " (removed)" if entry["snapshot"] and entry["snapshot"] not in kept else ""
    heading = f"{console.time_text(entry['at'])}  {entry['event']}  {entry['snapshot']}{gone}"
    facts = []
    if entry.get("as_of"):
        facts.append(f"data as of {console.time_text(datetime.fromisoformat(entry['as_of']))}")
    if entry.get("asked_by"):
        facts.append(f"by {entry['asked_by']}")
    if gate := entry.get("gate"):
        allowed = [each["check"] for each in gate if each["outcome"] == Outcome.ALLOWED.value]
        facts.append(f"gate allowed {', '.join(allowed)}" if allowed else "gate passed")
    if changes := console.changes_text(entry.get("changes") or entry.get("drift")):
        facts.append(f"changes {changes}")
    if holders := (entry.get("counts") or {}).get(RANGE_HOLDERS):
        facts.append(f"range holders of {holders:,} numbers")
    files = named([source["name"] for source in entry.get("sources", ())])
    origin = entry.get("url") or entry.get("dump") or files
    lines = [", ".join(facts), f"from {origin}" if origin else ""]
    lines += [entry.get("reason", ""), entry.get("message", "")]
    return heading, [line for line in lines if line]


@click.command()
@click.argument("old", default="previous", metavar="[A]")
@click.argument("new", default="current", metavar="[B]")
@store_option
@click.option(
    "--csv",
    "csv_path",
    type=FILE,
    metavar="FILE",
    help="Write every changed number to this file (0600). It holds subscriber data.",
)
@json_option
def diff(*, old: str, new: str, store: Path, csv_path: Path | None, as_json: bool) -> None:
    """Show which ported records and range holders changed from snapshot A to snapshot B.

    A and B are ids, "current" or "previous"; by default the previous and the current one. The
    matrix shows how many numbers went from the operator of the row to that of the column: ported
    and returned ones from and to their range holder.
    """
    opened = SnapshotStore(store)
    ids = [opened.resolve(old), opened.resolve(new)]
    with opened.open(ids[0]) as before, opened.open(ids[1]) as after:
        comparison = compare(before, after)
        changes = comparison.changes
        holders = range_holders(before, after)
        if csv_path:
            _write_csv(csv_path, before, after)
    if as_json:
        flows = [
            {
                "from": comparison.operators[giver],
                "to": comparison.operators[taker],
                "numbers": int(comparison.matrix[giver, taker]),
            }
            for giver, taker in np.argwhere(comparison.matrix).tolist()
        ]
        counts = {name: n for name, n in console.plain(changes).items() if name != "against"}
        document = {"old": {"id": ids[0]}, "new": {"id": ids[1]}, **counts, "flows": flows}
        console.print_json(document | {"range_holders": holders})
        return
    console.print_facts(
        [
            ("from", ids[0]),
            ("to", ids[1]),
            ("ported", f"{changes.ported:,} numbers have a record now"),
            ("returned", f"{changes.returned:,} numbers have none any more"),
            ("moved", f"{changes.moved:,} numbers to another operator"),
            ("updated", f"{changes.updated:,} numbers with another route"),
            (
                "range holders",
                f"{holders.changed:,} of {holders.numbers:,} numbers of the plan have another one"
                + (f": {', '.join(holders.flows)}" if holders.flows else ""),
            ),
        ]
    )
    if len(comparison.operators):
        _print_matrix(comparison)


def _print_matrix(comparison: Comparison) -> None:
    """Print the flows between the operators with the most changes, and all others together."""
    matrix = comparison.matrix
    order = np.argsort(-(matrix.sum(axis=0) + matrix.sum(axis=1)), kind="stable")
    names = [console.operator_text(comparison.operators[i]) or "nobody" for i in order.tolist()]
    if len(names) > OPERATORS_SHOWN_MAX + 1:
        names[OPERATORS_SHOWN_MAX:] = [f"{len(names) - OPERATORS_SHOWN_MAX} others"]
    place = np.minimum(np.argsort(order), OPERATORS_SHOWN_MAX)
    square = np.zeros((len(names), len(names)), np.int64)
    np.add.at(square, (place[:, None], place), matrix)
    console.print_table(
        ("from / to", *names, "gave"),
        [
            *(
                (name, *(f"{count:,}" if count else "" for count in row), f"{sum(row):,}")
                for name, row in zip(names, square.tolist(), strict=True)
            ),
            ("took", *(f"{count:,}" for count in square.sum(axis=0)), f"{int(square.sum()):,}"),
        ],
        unbroken=0,
    )


def _write_csv(path: Path, before: Snapshot, after: Snapshot) -> None:
    """Write every changed number, ascending, with its routes before and after."""
    routes = [_routes(before, "before"), _routes(after, "after")]
    kinds = pa.array([kind.name.lower() for kind in Kind])
    schema = pa.schema(
        [
            ("number", pa.uint64()),
            ("change", pa.string()),
            *(field for table in routes for field in table.schema),
        ]
    )
    try:
        # It holds subscriber data: an interrupted command leaves none of it.
        with replacing(path) as file, csv.CSVWriter(file, schema) as writer:
            for piece in changed_numbers(before, after):
                sides = zip(routes, (piece.before, piece.after), strict=True)
                columns = [
                    pa.array(piece.numbers),
                    kinds.take(pa.array(piece.kind)),
                    *(column for table, rows in sides for column in table.take(rows).columns),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror}") from None


def _routes(snapshot: Snapshot, side: str) -> pa.Table:
    """Return what the list says of each route of a snapshot, one row per route."""
    routes = [snapshot.route(row) for row in range(snapshot.route_count)]
    columns = {
        "operator": [route.operator.code for route in routes],
        "mcc": [route.mcc for route in routes],
        "mnc": [route.mnc for route in routes],
        "routing_number": [route.routing_number for route in routes],
    }
    return pa.table(
        {f"{name}_{side}": pa.array(cells, pa.string()) for name, cells in columns.items()}
    )


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
    console.show(
        {"snapshot": {"id": metadata.snapshot_id, "as_of": metadata.as_of}, "overrides": overrides},
        [
            ("current", metadata.snapshot_id),
            ("data as of", console.time_text(metadata.as_of)),
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
        console.show(document, [(f"{name}ned", snapshot_id)], as_json=as_json)

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
        console.print_json({"removed": removed, "kept": kept, "freed_bytes": freed})
        return
    console.print_table(
        ("snapshot", "published", "bytes", "kept as"),
        [
            (
                each.snapshot,
                console.time_text(each.published),
                f"{sizes[each.snapshot]:,}",
                ", ".join(each.reasons) or "removed",
            )
            for each in judged
        ],
    )
    console.print_facts(
        [
            (
                "removed",
                f"{len(removed):,} of {console.counted(len(judged), 'snapshot')}, {freed:,} bytes",
            )
        ]
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
    console.show(document, facts, as_json=as_json)


@click.group(cls=Group)
def override() -> None:
    """Route numbers and ranges by hand, against the registry or where it says nothing.

    Overrides take precedence over all other data until they expire. Each new snapshot keeps them
    until another file is applied.
    """


@override.command()
@click.argument("file", type=FILE)
@store_option
@reason_option
@click.option("--dry-run", is_flag=True, help="Read and check the file; publish nothing.")
@retention_options
@json_option
def apply(
    *, file: Path, store: Path, reason: str, dry_run: bool, retention: Retention, as_json: bool
) -> None:
    """Replace all overrides by those of FILE and publish a snapshot with them.

    FILE is a CSV with the columns number, operator, reason and author and, if needed, last (of a
    range), expires, mcc, mnc, routing_number and region. Numbers are whole international numbers.
    Of several overrides that hold a number the narrowest decides.
    """
    from numroute_loader.overrides import read_overrides  # noqa: PLC0415 - phonenumbers

    opened = SnapshotStore(store, retention=retention)
    snapshot = None
    with nullcontext() if dry_run else writing(opened) as writer:
        with opened.open() as current:
            overrides, expired = read_overrides(file, current)
        if writer is not None:
            metadata = writer.publish_overrides(overrides, asked_by=user_name(), reason=reason)
            snapshot = metadata.snapshot_id
    if expired:
        click.echo(f"warning: {console.counted(expired, 'expired line')} left out", err=True)
    _print_overrides(snapshot, len(overrides), as_json=as_json)


@override.command()
@store_option
@reason_option
@retention_options
@json_option
def clear(*, store: Path, reason: str, retention: Retention, as_json: bool) -> None:
    """Remove all overrides and publish a snapshot without any."""
    with writing(SnapshotStore(store, retention=retention)) as writer:
        metadata = writer.publish_overrides((), asked_by=user_name(), reason=reason)
    _print_overrides(metadata.snapshot_id, 0, as_json=as_json)


def _print_overrides(snapshot: str | None, count: int, *, as_json: bool) -> None:
    facts = [("overrides", f"{count:,}"), ("published", snapshot or "nothing: --dry-run")]
    found = {"overrides": count, "snapshot": {"id": snapshot} if snapshot else None}
    console.show(found, facts, as_json=as_json)
