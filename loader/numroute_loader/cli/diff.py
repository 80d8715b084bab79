"""``numroute-load diff``: what changed between two snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
from pyarrow import csv

from numroute.cli.console import operator_text, plain, print_facts, print_json, print_table
from numroute.cli.options import json_option, store_option
from numroute.errors import InputError
from numroute.files import replacing
from numroute.index import Comparison, Snapshot, SnapshotStore, compare
from numroute.index.compare import Kind, changed_numbers
from numroute_loader.differences import range_holders

OPERATORS_SHOWN_MAX = 4
"""Operators of the printed matrix, which has room in 80 columns; the rest share a row."""

_NOBODY = "nobody"


@click.command()
@click.argument("old", default="previous", metavar="[A]")
@click.argument("new", default="current", metavar="[B]")
@store_option
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(dir_okay=False, path_type=Path),
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
        holders = range_holders(before, after)
        if csv_path:
            _write_csv(csv_path, before, after)
    if as_json:
        print_json(_document(ids, comparison) | {"range_holders": plain(holders)})
        return
    changes = comparison.changes
    print_facts(
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


def _document(ids: list[str], comparison: Comparison) -> dict[str, Any]:
    changes: dict[str, Any] = plain(comparison.changes)
    del changes["against"]
    return {
        "old": {"id": ids[0]},
        "new": {"id": ids[1]},
        **changes,
        "flows": [
            {
                "from": plain(comparison.operators[giver]),
                "to": plain(comparison.operators[taker]),
                "numbers": int(comparison.matrix[giver, taker]),
            }
            for giver, taker in np.argwhere(comparison.matrix).tolist()
        ],
    }


def _print_matrix(comparison: Comparison) -> None:
    """Print the flows between the operators with the most changes, and all others together."""
    matrix = comparison.matrix
    order = np.argsort(-(matrix.sum(axis=0) + matrix.sum(axis=1)), kind="stable")
    names = [operator_text(comparison.operators[i]) or _NOBODY for i in order.tolist()]
    if len(names) > OPERATORS_SHOWN_MAX + 1:
        names[OPERATORS_SHOWN_MAX:] = [f"{len(names) - OPERATORS_SHOWN_MAX} others"]
    place = np.minimum(np.argsort(order), OPERATORS_SHOWN_MAX)
    square = np.zeros((len(names), len(names)), np.int64)
    np.add.at(square, (place[:, None], place), matrix)
    print_table(
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
            pa.field("number", pa.uint64()),
            pa.field("change", pa.string()),
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
