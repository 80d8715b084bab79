"""``numroute-load check``, ``build`` and ``apply``: one pipeline, three commands."""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from numroute.cli import console
from numroute.cli.options import json_option, optional_store_option, store_option, time
from numroute.errors import StoreMissingError
from numroute.index import Retention, SnapshotStore
from numroute.index.compare import CONFIRMED
from numroute_loader import pipeline
from numroute_loader.cli.options import approval_options, retention_options, user_name
from numroute_loader.gate.findings import GateError, Outcome, read_back
from numroute_loader.gate.limits import Approval, read_limits
from numroute_loader.increments import GapError
from numroute_loader.inputs import input_files
from numroute_loader.pipeline import Checked
from numroute_loader.registries import built_in_limits

_PRINTED = ("path", "registry", "kind", "sequence", "as_of", "rows", "sha256", "covers")
"""The fields of a file that ``--json`` has, in this order."""

_files_argument = click.argument(
    "files", nargs=-1, metavar="FILE...", type=click.Path(path_type=Path)
)
_as_of_option = click.option(
    "--as-of",
    type=time,
    metavar="TIME",
    help="Time up to which the data is known (ISO 8601); by default the time in the dump's name.",
)


@click.command()
@_files_argument
@_as_of_option
@optional_store_option
@approval_options
@json_option
@click.option("--show-limits", is_flag=True, help="Print the limits of the gate and judge nothing.")
def check(
    *,
    files: tuple[Path, ...],
    as_of: datetime | None,
    store: Path | None,
    approval: Approval,
    show_limits: bool,
    as_json: bool,
) -> None:
    """Read and judge registry files; build nothing. Exit status 1 when the gate would refuse.

    With --store, the files are compared with its current snapshot. Each FILE is a registry file as
    published (.csv or .zip) or a folder of them. Its kind is recognised by its name and header.
    """
    if show_limits:
        limits = console.plain(read_limits(built_in_limits(), approval.limits))
        if as_json:
            console.print_json(limits)
        else:
            value = re.compile(r"^(\w+) = .*$", re.MULTILINE)
            text = value.sub(lambda match: f"{match[1]} = {limits[match[1]]:_}", built_in_limits())
            click.echo(text, nl=False)
        return
    opened = None
    if store:
        try:
            opened = SnapshotStore(store)
        except StoreMissingError as error:
            # A first check comes before the first build.
            click.echo(f"warning: {error.message}: compared with nothing", err=True)
    inputs = _inputs(files)
    with console.Bars() as bars:
        checked = pipeline.check(inputs, opened, approval, as_of=as_of, progress=bars.report)
    _report(checked, {}, as_json=as_json)


@click.command()
@_files_argument
@_as_of_option
@store_option
@approval_options
@retention_options
@json_option
def build(
    *,
    files: tuple[Path, ...],
    as_of: datetime | None,
    store: Path,
    approval: Approval,
    retention: Retention,
    as_json: bool,
) -> None:
    """Build a snapshot from registry files and make it the store's current one.

    Each FILE is a registry file as published (.csv or .zip) or a folder of them. Its kind is
    recognised by its name and header.
    """
    inputs = _inputs(files)
    opened = SnapshotStore(store, create=True, retention=retention)
    _check_and_publish(inputs, opened, approval, as_of, increments=False, as_json=as_json)


@click.command()
@_files_argument
@approval_options
@json_option
@store_option
@retention_options
def apply(
    *,
    store: Path,
    files: tuple[Path, ...],
    approval: Approval,
    retention: Retention,
    as_json: bool,
) -> None:
    """Apply increments to the store's current snapshot and make the result current.

    Each FILE is an increment as published (.csv or .zip) or a folder of them, of any number of
    windows and in any order. A window needs all its files; windows are applied in sequence and
    published as one snapshot. Files that have been applied already are skipped. Files that follow a
    gap are left, and the exit status is 1.
    """
    inputs = _inputs(files)
    opened = SnapshotStore(store, retention=retention)
    _check_and_publish(inputs, opened, approval, None, increments=True, as_json=as_json)


def _inputs(files: tuple[Path, ...]) -> list[Path]:
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    return input_files(files)


def _check_and_publish(
    inputs: list[Path],
    store: SnapshotStore,
    approval: Approval,
    as_of: datetime | None,
    *,
    increments: bool,
    as_json: bool,
) -> None:
    with console.Bars() as bars:
        checked = pipeline.check(
            inputs, store, approval, increments=increments, as_of=as_of, progress=bars.report
        )
        outcome: dict[str, Any] = {"snapshot": None, "published": False}
        if checked.passed and (checked.new is not None or checked.gap is None):
            bars.report("publishing", 0, 0)
            metadata = pipeline.publish(
                store, checked, asked_by=user_name(), reason=approval.reason
            )
            bars.report("publishing", 1, 1)
            outcome = {
                "snapshot": {"id": metadata.snapshot_id},
                "published": checked.new is not None,
                "file_bytes": store.snapshot_path(metadata.snapshot_id).stat().st_size,
            }
            if checked.new is not None:
                checked = dataclasses.replace(checked, findings=read_back(checked.findings))
    _report(checked, outcome, as_json=as_json)


def _report(checked: Checked, outcome: dict[str, Any], *, as_json: bool) -> None:
    """Print what was checked and published; raise what was refused or is missing."""
    if as_json:
        console.print_json(_document(checked) | outcome)
    else:
        _print(checked)
        if outcome.get("snapshot"):
            word = "published" if outcome["published"] else "nothing to apply; current"
            size = f"{outcome['file_bytes']:,} bytes"
            console.print_facts([(word, outcome["snapshot"]["id"]), ("file", size)])
    if not checked.passed:
        raise GateError(checked.findings)
    if checked.gap is not None:
        raise GapError(checked.gap)


def _document(checked: Checked) -> dict[str, Any]:
    """Return what ``--json`` prints; ``passed`` is null where nothing was judged."""
    effect, gap = checked.effect, checked.gap
    changes = {} if effect is None else {"confirmed": effect.count(CONFIRMED)}
    return {
        "base": {"id": checked.base_id or None},
        "as_of": checked.as_of,
        "files": [
            {name: console.plain(getattr(file.source, name)) for name in _PRINTED}
            for file in checked.files
        ],
        "rows": _rows(checked),
        "report": checked.report,
        "drift": checked.drift,
        "windows": checked.windows,
        "skipped": checked.skipped,
        "gap": gap and {**console.plain(gap), "message": gap.message},
        "changes": checked.changes and {**console.plain(checked.changes), **changes},
        "ported": checked.counts["ported"],
        "gate": [
            {**console.plain(finding), "outcome": finding.outcome.value}
            for finding in checked.findings
        ],
        "passed": checked.passed if checked.findings else None,
        "warnings": checked.warnings,
    }


def _print(checked: Checked) -> None:
    if checked.files:
        console.print_table(
            ("file", "kind", "sequence", "rows"),
            [
                (each.path.name, each.kind, str(each.sequence or ""), f"{each.rows:,}")
                for each in (file.source for file in checked.files)
            ],
        )
    if checked.skipped:
        console.print_table(
            ("skipped", "sequence", "why"),
            [(file.name, str(file.sequence), file.reason) for file in checked.skipped],
        )
    if checked.files:
        console.print_facts([("data as of", console.time_text(checked.as_of)), *_figures(checked)])
        made = [each for each in checked.findings if each.outcome is not Outcome.NOT_CHECKED]
        console.print_table(
            ("check", "", "finding"),
            [(each.check, each.outcome.value, each.message) for each in made],
        )
        missing = [each.check for each in checked.findings if each not in made]
        if missing:
            console.print_facts([("not checked", f"{', '.join(missing)} (--json says why)")])
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)


def _figures(checked: Checked) -> list[tuple[str, str]]:
    """Return the counts of the new snapshot, and in short what changed."""
    figures = []
    if checked.effect is not None:
        windows = f"{len(checked.windows):,} with {console.counted(_rows(checked), 'row')}"
        figures = [("windows", windows), ("confirmed", f"{checked.effect.count(CONFIRMED):,}")]
    if checked.changes is not None:
        figures.append(("changes", console.changes_text(console.plain(checked.changes))))
    names = {"ported": "ported numbers", "range_numbers": "numbers in ranges"}
    figures += [(names.get(each, each), f"{count:,}") for each, count in checked.counts.items()]
    return figures


def _rows(checked: Checked) -> int:
    return sum(file.source.rows for file in checked.files)
