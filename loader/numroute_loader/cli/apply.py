"""``numroute-load apply``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from numroute.cli.console import plain, print_facts, print_json, print_table, time_text
from numroute.cli.options import json_option, store_option
from numroute.index import Retention, SnapshotStore
from numroute.index.compare import CONFIRMED
from numroute_loader import applying
from numroute_loader.cli.asking import user_name
from numroute_loader.cli.progress import Bars
from numroute_loader.cli.retention import retention_options
from numroute_loader.cli.terms import terms_options
from numroute_loader.cli.verdict import (
    files_document,
    print_findings,
    print_warnings,
    verdict_document,
)
from numroute_loader.gate import read_back
from numroute_loader.increments.windows import GapError
from numroute_loader.inputs import input_files

if TYPE_CHECKING:
    from pathlib import Path

    from numroute_loader.applying import CheckedIncrements
    from numroute_loader.terms import Terms


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@terms_options
@json_option
@store_option
@retention_options
def apply(
    *,
    store: Path,
    files: tuple[str, ...],
    terms: Terms,
    retention: Retention,
    as_json: bool,
) -> int:
    """Apply increments to the store's current snapshot and make the result current.

    Each FILE is an increment as published (.csv or .zip) or a folder of them, of any number of
    windows and in any order. A window needs all its files; windows are applied in sequence and
    published as one snapshot. What has been applied already is passed over. What follows a gap is
    left, and the exit status is 1.
    """
    opened = SnapshotStore(store, retention=retention)
    with Bars() as bars:
        checked = terms.check_increments(opened, input_files(files), progress=bars.of_file)
        if as_json and (not checked.passed or (checked.patch is None and checked.gap is not None)):
            print_json({**document(checked), "snapshot": None, "published": False})
        bars.update("publishing", 0, 0)
        metadata = applying.publish_increments(
            opened, checked, asked_by=user_name(), reason=terms.reason
        )
        bars.update("publishing", 1, 1)
    if checked.windows:
        checked = dataclasses.replace(checked, findings=read_back(checked.findings))
    size = opened.snapshot_path(metadata.snapshot_id).stat().st_size
    if as_json:
        print_json(
            {
                **document(checked),
                "snapshot": {"id": metadata.snapshot_id},
                "published": bool(checked.windows),
                "file_bytes": size,
            }
        )
    else:
        print_checked(checked)
        word = "published" if checked.windows else "nothing to apply; current"
        print_facts([(word, metadata.snapshot_id), ("file", f"{size:,} bytes")])
    if checked.gap is not None:
        raise GapError(checked.gap)
    return 0


def document(checked: CheckedIncrements) -> dict[str, Any]:
    """Return what ``--json`` prints of checked increments."""
    return {
        "base": {"id": checked.base_id},
        "as_of": checked.as_of.isoformat(),
        "files": files_document(checked.files),
        "windows": list(checked.windows),
        "skipped": plain(checked.skipped),
        "gap": None
        if checked.gap is None
        else plain(checked.gap) | {"message": checked.gap.message},
        "rows": checked.rows,
        "changes": plain(checked.changes) | {"confirmed": checked.effect.count(CONFIRMED)},
        "ported": checked.effect.ported_after,
        **verdict_document(checked),
    }


def print_checked(checked: CheckedIncrements) -> None:
    """Print checked increments for people."""
    if checked.files:
        print_table(
            ("file", "sequence", "rows"),
            [
                (source.path.name, str(source.sequence), f"{source.rows:,}")
                for source in (file.source for file in checked.files)
            ],
        )
    if checked.skipped:
        print_table(
            ("skipped", "sequence", "why"),
            [(each.name, str(each.sequence), each.reason) for each in checked.skipped],
        )
    changes, effect = checked.changes, checked.effect
    if checked.windows:
        print_facts(
            [
                ("data as of", time_text(checked.as_of)),
                ("windows", f"{len(checked.windows)} with {checked.rows:,} rows"),
                ("ported", f"{changes.ported:,}"),
                ("returned", f"{changes.returned:,}"),
                ("moved to another operator", f"{changes.moved:,}"),
                ("other route", f"{changes.updated:,}"),
                ("confirmed", f"{effect.count(CONFIRMED):,}"),
                ("ported numbers", f"{effect.ported_after:,}, before {effect.ported_before:,}"),
            ]
        )
        print_findings(checked)
    print_warnings(checked)
