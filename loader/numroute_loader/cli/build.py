"""``numroute-load check``, ``build`` and ``apply``: one pipeline, three commands."""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from numroute.cli.console import counted, plain, print_facts, print_json, print_table, time_text
from numroute.cli.options import Time, json_option, optional_store_option, store_option
from numroute.cli.progress import Bars
from numroute.errors import StoreMissingError
from numroute.index import Retention, SnapshotStore
from numroute.index.compare import CONFIRMED
from numroute_loader import pipeline
from numroute_loader.cli.options import approval_options, retention_options, user_name
from numroute_loader.gate.findings import GateError, Outcome, read_back
from numroute_loader.gate.limits import Approval
from numroute_loader.increments.windows import GapError
from numroute_loader.inputs import input_files
from numroute_loader.pipeline import Checked
from numroute_loader.registries import built_in_limits, load_limits

_FILES_HELP = """

Each FILE is a registry file as published (.csv or .zip) or a folder of them. Its kind is recognised
by its name and header.
"""

_files_argument = click.argument(
    "files", nargs=-1, metavar="FILE...", type=click.Path(path_type=Path)
)
_as_of_option = click.option(
    "--as-of",
    type=Time(),
    metavar="TIME",
    help="Time up to which the data is known (ISO 8601); by default the time in the dump's name.",
)


@click.command(
    help="Read and judge registry files; build nothing. Exit status 1 when the gate would refuse. "
    "With --store, the files are compared with its current snapshot." + _FILES_HELP
)
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
) -> int:
    """Read and judge the files, and print the findings."""
    if show_limits:
        _show_limits(approval, as_json)
        return 0
    opened = None
    if store:
        try:
            opened = SnapshotStore(store)
        except StoreMissingError as error:
            # A first check comes before the first build.
            click.echo(f"warning: {error.message}: compared with nothing", err=True)
    with Bars() as bars:
        checked = pipeline.check(
            _inputs(files), opened, approval, as_of=as_of, progress=bars.update
        )
    if as_json:
        print_json(_document(checked))
    else:
        _print(checked)
    if not checked.passed:
        raise GateError(checked.findings)
    if checked.gap is not None:
        raise GapError(checked.gap)
    return 0


@click.command(
    help="Build a snapshot from registry files and make it the store's current one." + _FILES_HELP
)
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
) -> int:
    """Read, merge, judge and publish full files."""
    inputs = _inputs(files)
    opened = SnapshotStore(store, create=True, retention=retention)
    with Bars() as bars:
        checked = pipeline.check(
            inputs, opened, approval, increments=False, as_of=as_of, progress=bars.update
        )
        return _publish(opened, checked, approval, bars, as_json=as_json)


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
) -> int:
    """Apply increments to the store's current snapshot and make the result current.

    Each FILE is an increment as published (.csv or .zip) or a folder of them, of any number of
    windows and in any order. A window needs all its files; windows are applied in sequence and
    published as one snapshot. Files that have been applied already are skipped. Files that follow a
    gap are left, and the exit status is 1.
    """
    inputs = _inputs(files)
    opened = SnapshotStore(store, retention=retention)
    with Bars() as bars:
        checked = pipeline.check(inputs, opened, approval, increments=True, progress=bars.update)
        return _publish(opened, checked, approval, bars, as_json=as_json)


def _inputs(files: tuple[Path, ...]) -> list[Path]:
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    return input_files(files)


def _publish(
    store: SnapshotStore, checked: Checked, approval: Approval, bars: Bars, *, as_json: bool
) -> int:
    """Publish what was checked, and print it with the snapshot that is current then."""
    published = checked.new is not None
    applied = {"published": published} if checked.effect is not None else {}
    if as_json and (not checked.passed or (not published and checked.gap is not None)):
        refused = dict.fromkeys(applied, False)
        print_json({**_document(checked), "snapshot": None, **refused})
    bars.update("publishing", 0, 0)
    metadata = pipeline.publish(store, checked, asked_by=user_name(), reason=approval.reason)
    bars.update("publishing", 1, 1)
    if published:
        checked = dataclasses.replace(checked, findings=read_back(checked.findings))
    size = store.snapshot_path(metadata.snapshot_id).stat().st_size
    if as_json:
        snapshot = {"id": metadata.snapshot_id}
        print_json({**_document(checked), "snapshot": snapshot, **applied, "file_bytes": size})
    else:
        _print(checked)
        word = "published" if published else "nothing to apply; current"
        print_facts([(word, metadata.snapshot_id), ("file", f"{size:,} bytes")])
    if checked.gap is not None:
        raise GapError(checked.gap)
    return 0


def _show_limits(approval: Approval, as_json: bool) -> None:
    limits = plain(load_limits(approval.limits))
    if as_json:
        print_json(limits)
        return
    value = re.compile(r"^(\w+) = .*$", re.MULTILINE)
    text = value.sub(lambda match: f"{match[1]} = {limits[match[1]]:_}", built_in_limits())
    click.echo(text, nl=False)


def _document(checked: Checked) -> dict[str, Any]:
    """Return what ``--json`` prints; ``passed`` is null where nothing was judged."""
    files = []
    for file in checked.files:
        described = plain(file.source) | {"path": str(file.source.path)}
        del described["member"]
        files.append(described)
    verdict = {
        "gate": [
            plain(finding) | {"outcome": finding.outcome.value} for finding in checked.findings
        ],
        "passed": checked.passed if checked.findings else None,
        "warnings": list(checked.warnings),
    }
    if checked.effect is None:
        return {
            "as_of": checked.as_of.isoformat(),
            "files": files,
            "report": plain(checked.report),
            "drift": None if checked.drift is None else plain(checked.drift),
            **verdict,
        }
    gap = checked.gap
    return {
        "base": {"id": checked.base_id},
        "as_of": checked.as_of.isoformat(),
        "files": files,
        "windows": list(checked.windows),
        "skipped": plain(checked.skipped),
        "gap": None if gap is None else plain(gap) | {"message": gap.message},
        "rows": _rows(checked),
        "changes": plain(checked.changes) | {"confirmed": checked.effect.count(CONFIRMED)},
        "ported": checked.effect.ported_after,
        **verdict,
    }


def _print(checked: Checked) -> None:
    if checked.files:
        print_table(
            ("file", "kind", "sequence", "rows"),
            [
                (
                    source.path.name,
                    source.kind,
                    "" if source.sequence is None else str(source.sequence),
                    f"{source.rows:,}",
                )
                for source in (file.source for file in checked.files)
            ],
        )
    if checked.skipped:
        print_table(
            ("skipped", "sequence", "why"),
            [(file.name, str(file.sequence), file.reason) for file in checked.skipped],
        )
    if checked.files:
        print_facts([("data as of", time_text(checked.as_of)), *_figures(checked)])
        print_table(
            ("check", "", "finding"),
            [
                (found.check, found.outcome.value, found.message)
                for found in checked.findings
                if found.outcome is not Outcome.NOT_CHECKED
            ],
        )
        missing = [
            found.check for found in checked.findings if found.outcome is Outcome.NOT_CHECKED
        ]
        if missing:
            print_facts([("not checked", f"{', '.join(missing)} (--json says why)")])
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)


def _figures(checked: Checked) -> list[tuple[str, str]]:
    changes, effect, report = checked.changes, checked.effect, checked.report
    if effect is not None and changes is not None:
        return [
            ("windows", f"{len(checked.windows):,} with {counted(_rows(checked), 'row')}"),
            ("ported", f"{changes.ported:,}"),
            ("returned", f"{changes.returned:,}"),
            ("moved to another operator", f"{changes.moved:,}"),
            ("other route", f"{changes.updated:,}"),
            ("confirmed", f"{effect.count(CONFIRMED):,}"),
            ("ported numbers", f"{effect.ported_after:,}, before {effect.ported_before:,}"),
        ]
    if report is None:
        return []
    return [
        ("ported numbers", f"{report.ported:,}"),
        *([("returned home", f"{report.returned_home:,}")] if report.returned_home else []),
        ("ranges", f"{report.ranges:,} with {report.range_numbers:,} numbers"),
        ("operators", f"{report.operators:,}"),
        ("distinct routes", f"{report.routes:,}"),
    ]


def _rows(checked: Checked) -> int:
    return sum(file.source.rows for file in checked.files)
