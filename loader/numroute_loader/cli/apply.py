"""``numroute-load apply``."""

from __future__ import annotations

import dataclasses
import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from numroute.console import plain, print_facts, print_json, print_table
from numroute.errors import SettingError
from numroute.index import Retention, SnapshotStore
from numroute.index.patch import CONFIRMED
from numroute.settings import json_option, store_option
from numroute_loader import applying
from numroute_loader.build import input_files
from numroute_loader.cli.progress import Bars
from numroute_loader.cli.retention import retention_options
from numroute_loader.gate import OVERRIDABLE, read_back
from numroute_loader.increments.windows import GapError
from numroute_loader.registries.limits import load_limits

if TYPE_CHECKING:
    from numroute_loader.applying import CheckedIncrements


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--brands",
    envvar="NUMROUTE_BRANDS",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table of brands whose rows win over the built-in one's, for routes that are new.",
)
@click.option(
    "--allow",
    "allowed",
    type=click.Choice(OVERRIDABLE),
    metavar="CHECK",
    multiple=True,
    help="Let this check of the gate fail; may be given several times, with --reason. "
    f"Checks: {', '.join(OVERRIDABLE)}.",
)
@click.option("--reason", default="", help="Why; it lands in the history.")
@click.option(
    "--limits",
    envvar="NUMROUTE_LIMITS",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file of limits of the gate; those that it names win over the built-in ones.",
)
@click.option(
    "--expect",
    envvar="NUMROUTE_EXPECT",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of chosen numbers: lines of NUMBER,OPERATOR CODE that must come true.",
)
@json_option
@store_option
@retention_options
def apply(
    *,
    store: Path,
    files: tuple[str, ...],
    brands: Path | None,
    allowed: tuple[str, ...],
    reason: str,
    limits: Path | None,
    expect: Path | None,
    retention: Retention,
    as_json: bool,
) -> int:
    """Apply increments to the store's current snapshot and make the result current.

    Each FILE is an increment as published (.csv or .zip) or a folder of them, of any number of
    windows and in any order. A window needs all its files; windows are applied in sequence and
    published as one snapshot. What has been applied already is passed over. What follows a gap is
    left, and the exit status is 1.
    """
    if allowed and not reason.strip():
        raise SettingError("--allow needs a reason", hint="Give it with --reason TEXT")
    opened = SnapshotStore(store, retention=retention)
    with Bars() as bars:
        checked = applying.check_increments(
            opened,
            input_files(files),
            brands=brands,
            limits=load_limits(limits),
            expect=expect,
            allowed=allowed,
            progress=lambda path, _, done, total: bars.update(path.name, done, total),
        )
        bars.update("publishing", 0, 0)
        metadata = applying.publish_increments(
            opened, checked, asked_by=getpass.getuser(), reason=reason
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
        "files": [plain(file.source) | {"path": str(file.source.path)} for file in checked.files],
        "windows": list(checked.windows),
        "skipped": plain(checked.skipped),
        "gap": None
        if checked.gap is None
        else plain(checked.gap) | {"message": checked.gap.message},
        "rows": checked.rows,
        "changes": plain(checked.changes) | {"confirmed": checked.effect.count(CONFIRMED)},
        "ported": checked.effect.ported_after,
        "gate": [
            plain(finding) | {"outcome": finding.outcome.value} for finding in checked.findings
        ],
        "passed": checked.passed,
        "warnings": list(checked.warnings),
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
                ("data as of", checked.as_of.isoformat()),
                ("windows", f"{len(checked.windows)} with {checked.rows:,} rows"),
                ("ported", f"{changes.ported:,}"),
                ("returned", f"{changes.returned:,}"),
                ("moved to another operator", f"{changes.moved:,}"),
                ("other route", f"{changes.updated:,}"),
                ("confirmed", f"{effect.count(CONFIRMED):,}"),
                ("ported numbers", f"{effect.ported_after:,}, before {effect.ported_before:,}"),
            ]
        )
        print_table(
            ("check", "", "finding"),
            [(each.check, each.outcome.value, each.message) for each in checked.findings],
        )
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)
