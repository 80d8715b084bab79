"""``numroute-load check`` and ``numroute-load build``."""

from __future__ import annotations

import dataclasses
import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from numroute.console import plain, print_facts, print_json, print_table
from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute.settings import json_option, optional_store_option, store_option
from numroute_loader import applying
from numroute_loader import build as building
from numroute_loader.cli.apply import document as increments_document
from numroute_loader.cli.apply import print_checked as print_increments
from numroute_loader.cli.progress import Bars
from numroute_loader.cli.retention import retention_options
from numroute_loader.gate import OVERRIDABLE, GateError, read_back
from numroute_loader.gate.limits import meanings
from numroute_loader.increments.windows import GapError
from numroute_loader.registries.limits import load_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numroute.index import Retention
    from numroute_loader.build import Checked

_FILES_HELP = """

Each FILE is a registry file as published (.csv or .zip) or a folder of them. Its kind is told by
its name and header; KIND=FILE overrides the name, e.g. ru-bdpn/port-all=dump.csv.
"""


def _input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorator in (
        click.argument("files", nargs=-1, metavar="FILE..."),
        click.option(
            "--brands",
            envvar="NUMROUTE_BRANDS",
            show_envvar=True,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Table of brands whose rows win over the built-in one's.",
        ),
        click.option(
            "--as-of",
            metavar="TIME",
            help="Time up to which the data is known (ISO 8601); by default the time in the "
            "dump's name.",
        ),
        click.option(
            "--allow",
            "allowed",
            type=click.Choice(OVERRIDABLE),
            metavar="CHECK",
            multiple=True,
            help="Let this check of the gate fail; may be given several times, with --reason. "
            f"Checks: {', '.join(OVERRIDABLE)}.",
        ),
        click.option("--reason", default="", help="Why; it lands in the history."),
        click.option(
            "--limits",
            envvar="NUMROUTE_LIMITS",
            show_envvar=True,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="TOML file of limits of the gate; those that it names win over the built-in ones.",
        ),
        click.option(
            "--expect",
            envvar="NUMROUTE_EXPECT",
            show_envvar=True,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="File of chosen numbers: lines of NUMBER,OPERATOR CODE that must come true.",
        ),
        json_option,
    ):
        command = decorator(command)
    return command


@click.command(
    help="Read and judge registry files; build nothing. Exit status 1 when the gate would refuse. "
    "With --store, the files are compared with its current snapshot." + _FILES_HELP
)
@_input_options
@optional_store_option
@click.option("--show-limits", is_flag=True, help="Print the limits of the gate and judge nothing.")
def check(*, store: Path | None, show_limits: bool, as_json: bool, **inputs: Any) -> int:  # noqa: ANN401 - click's
    """Read, merge and judge the files, and print what was found."""
    if show_limits:
        _show_limits(inputs["limits"], as_json)
        return 0
    opened = SnapshotStore(store) if store else None
    if applying.increments_among(building.input_files(inputs["files"])):
        return _check_increments(opened, as_json=as_json, **inputs)
    with Bars() as bars:
        checked = _check(bars, opened, **inputs)
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
@_input_options
@store_option
@retention_options
def build(
    *,
    store: Path,
    as_json: bool,
    reason: str,
    retention: Retention,
    **inputs: Any,  # noqa: ANN401 - click's
) -> int:
    """Read, merge, judge and publish."""
    opened = SnapshotStore(store, create=True, retention=retention)
    with Bars() as bars:
        checked = _check(bars, opened, reason=reason, **inputs)
        bars.update("publishing", 0, 0)
        metadata = building.publish(opened, checked, asked_by=getpass.getuser(), reason=reason)
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


def _check(
    bars: Bars,
    store: SnapshotStore | None,
    *,
    files: tuple[str, ...],
    brands: Path | None,
    as_of: str | None,
    allowed: tuple[str, ...],
    reason: str,
    limits: Path | None,
    expect: Path | None,
) -> Checked:
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    if allowed and not reason.strip():
        raise SettingError("--allow needs a reason", hint="Give it with --reason TEXT")
    with building.current_of(store) as current:
        return building.check(
            building.input_files(files),
            brands=brands,
            as_of=_time(as_of) if as_of else None,
            current=current,
            limits=load_limits(limits),
            expect=expect,
            allowed=allowed,
            progress=lambda path, _, done, total: bars.update(path.name, done, total),
        )


def _check_increments(
    store: SnapshotStore | None,
    *,
    files: tuple[str, ...],
    brands: Path | None,
    as_of: str | None,
    allowed: tuple[str, ...],
    limits: Path | None,
    expect: Path | None,
    as_json: bool,
    **_: Any,  # noqa: ANN401 - options of full dumps
) -> int:
    if store is None:
        raise SettingError(
            "increments change a snapshot: without one there is nothing to judge",
            hint="Give --store DIR",
        )
    if as_of:
        raise SettingError("--as-of is not for increments", hint="Their names state their times")
    with Bars() as bars:
        checked = applying.check_increments(
            store,
            building.input_files(files),
            brands=brands,
            limits=load_limits(limits),
            expect=expect,
            allowed=allowed,
            progress=lambda path, _, done, total: bars.update(path.name, done, total),
        )
    if as_json:
        print_json(increments_document(checked))
    else:
        print_increments(checked)
    if not checked.passed:
        raise GateError(checked.findings)
    if checked.gap is not None:
        raise GapError(checked.gap)
    return 0


def _show_limits(path: Path | None, as_json: bool) -> None:
    limits = plain(load_limits(path))
    if as_json:
        print_json(limits)
        return
    print_table(
        ("limit", "value", "meaning"),
        [(name, f"{limits[name]:g}", meaning) for name, meaning in meanings().items()],
        unbroken=2,
    )


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise SettingError(
            f"--as-of {text!r} is no time", hint="Write it as 2026-08-23T00:00:00+03:00"
        ) from None
    if time.tzinfo is None:
        raise SettingError(
            f"--as-of {text!r} names no time zone", hint="Write it as 2026-08-23T00:00:00+03:00"
        )
    return time.astimezone(UTC)


def _document(checked: Checked) -> dict[str, Any]:
    return {
        "as_of": checked.as_of.isoformat(),
        "files": [plain(file.source) | {"path": str(file.source.path)} for file in checked.files],
        "report": plain(checked.merged.report),
        "gate": [
            plain(finding) | {"outcome": finding.outcome.value} for finding in checked.findings
        ],
        "drift": None if checked.drift is None else plain(checked.drift),
        "passed": checked.passed,
        "warnings": list(checked.warnings),
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
            ("data as of", checked.as_of.isoformat()),
            ("ported numbers", f"{report.ported:,}"),
            *([("returned home", f"{report.returned_home:,}")] if report.returned_home else []),
            ("ranges", f"{report.ranges:,} with {report.range_numbers:,} numbers"),
            ("operators", f"{report.operators:,}"),
            ("distinct routes", f"{report.routes:,}"),
        ]
    )
    print_table(
        ("check", "", "finding"),
        [(finding.check, finding.outcome.value, finding.message) for finding in checked.findings],
    )
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)
