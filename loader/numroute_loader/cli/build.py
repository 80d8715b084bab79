"""``numroute-load check`` and ``numroute-load build``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from numroute.cli.console import plain, print_facts, print_json, print_table, time_text
from numroute.cli.options import Time, json_option, optional_store_option, store_option
from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute_loader import build as building
from numroute_loader.applying import increments_among
from numroute_loader.cli.apply import document as increments_document
from numroute_loader.cli.apply import print_checked as print_increments
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
from numroute_loader.gate import GateError, read_back
from numroute_loader.gate.limits import meanings
from numroute_loader.increments.windows import GapError
from numroute_loader.inputs import input_files
from numroute_loader.registries.limits import load_limits
from numroute_loader.sequence import files_before

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from numroute.index import Retention
    from numroute_loader.build import Checked
    from numroute_loader.inputs import InputFile
    from numroute_loader.terms import Terms

_FILES_HELP = """

Each FILE is a registry file as published (.csv or .zip) or a folder of them. Its kind is told by
its name and header; KIND=FILE overrides the name, e.g. ru-bdpn/port-all=dump.csv.
"""


_files_argument = click.argument("files", nargs=-1, metavar="FILE...")
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
@terms_options
@json_option
@click.option("--show-limits", is_flag=True, help="Print the limits of the gate and judge nothing.")
def check(
    *,
    files: tuple[str, ...],
    as_of: datetime | None,
    store: Path | None,
    terms: Terms,
    show_limits: bool,
    as_json: bool,
) -> int:
    """Read, merge and judge the files, and print what was found."""
    if show_limits:
        _show_limits(terms, as_json)
        return 0
    opened = SnapshotStore(store) if store else None
    inputs = _inputs(files)
    if increments_among(inputs):
        return _check_increments(opened, inputs, as_of, terms, as_json=as_json)
    with Bars() as bars, building.current_of(opened) as current:
        checked = terms.check(
            inputs, current=current, seen=files_before(opened), as_of=as_of, progress=bars.of_file
        )
    if as_json:
        print_json(_document(checked))
    else:
        _print(checked)
    if not checked.passed:
        raise GateError(checked.findings)
    return 0


@click.command(
    help="Build a snapshot from registry files and make it the store's current one." + _FILES_HELP
)
@_files_argument
@_as_of_option
@store_option
@terms_options
@retention_options
@json_option
def build(
    *,
    files: tuple[str, ...],
    as_of: datetime | None,
    store: Path,
    terms: Terms,
    retention: Retention,
    as_json: bool,
) -> int:
    """Read, merge, judge and publish."""
    inputs = _inputs(files)
    opened = SnapshotStore(store, create=True, retention=retention)
    with Bars() as bars:
        with building.current_of(opened) as current:
            checked = terms.check(
                inputs,
                current=current,
                seen=files_before(opened),
                as_of=as_of,
                progress=bars.of_file,
            )
        if as_json and not checked.passed:
            print_json({**_document(checked), "snapshot": None})
        bars.update("publishing", 0, 0)
        metadata = building.publish(opened, checked, asked_by=user_name(), reason=terms.reason)
        bars.update("publishing", 1, 1)
    checked = dataclasses.replace(checked, findings=read_back(checked.findings))
    size = opened.snapshot_path(metadata.snapshot_id).stat().st_size
    if as_json:
        print_json(
            {**_document(checked), "snapshot": {"id": metadata.snapshot_id}, "file_bytes": size}
        )
        return 0
    _print(checked)
    print_facts([("published", metadata.snapshot_id), ("file", f"{size:,} bytes")])
    return 0


def _inputs(files: tuple[str, ...]) -> list[InputFile]:
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    return input_files(files)


def _check_increments(
    store: SnapshotStore | None,
    inputs: list[InputFile],
    as_of: datetime | None,
    terms: Terms,
    *,
    as_json: bool,
) -> int:
    if store is None:
        raise SettingError(
            "increments change a snapshot: without one there is nothing to judge",
            hint="Give --store DIR",
        )
    if as_of:
        raise SettingError("--as-of is not for increments", hint="Their names state their times")
    with Bars() as bars:
        checked = terms.check_increments(store, inputs, progress=bars.of_file)
    if as_json:
        print_json(increments_document(checked))
    else:
        print_increments(checked)
    if not checked.passed:
        raise GateError(checked.findings)
    if checked.gap is not None:
        raise GapError(checked.gap)
    return 0


def _show_limits(terms: Terms, as_json: bool) -> None:
    limits = plain(load_limits(terms.limits))
    if as_json:
        print_json(limits)
        return
    print_table(
        ("limit", "value", "meaning"),
        [(name, f"{limits[name]:g}", meaning) for name, meaning in meanings().items()],
        unbroken=2,
    )


def _document(checked: Checked) -> dict[str, Any]:
    return {
        "as_of": checked.as_of.isoformat(),
        "files": files_document(checked.files),
        "report": plain(checked.merged.report),
        "drift": None if checked.drift is None else plain(checked.drift),
        **verdict_document(checked),
    }


def _print(checked: Checked) -> None:
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
    report = checked.merged.report
    print_facts(
        [
            ("data as of", time_text(checked.as_of)),
            ("ported numbers", f"{report.ported:,}"),
            *([("returned home", f"{report.returned_home:,}")] if report.returned_home else []),
            ("ranges", f"{report.ranges:,} with {report.range_numbers:,} numbers"),
            ("operators", f"{report.operators:,}"),
            ("distinct routes", f"{report.routes:,}"),
        ]
    )
    print_findings(checked)
    print_warnings(checked)
