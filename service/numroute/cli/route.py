"""``numroute route``."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from numroute.cli.lookup import one_of
from numroute.console import print_json, print_table
from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute.settings import (
    Folder,
    json_option,
    optional_store_option,
    region_option,
    target_option,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID

    from numroute.campaign.routers import Router
    from numroute.campaign.summary import Summary


@click.command()
@click.argument("lists", nargs=-1, required=True, metavar="LIST...")
@click.option(
    "--out",
    required=True,
    type=Folder(file_okay=False, path_type=Path),
    help="Folder for the outputs; made at the end, whole.",
)
@optional_store_option
@target_option
@region_option
@click.option("--column", metavar="NAME", help="The phone column: its name, or place from 1.")
@click.option("--delimiter", metavar="CHAR", help="What parts the cells of a CSV list.")
@click.option("--encoding", metavar="NAME", help="Encoding of a CSV list, e.g. cp1251.")
@click.option("--header/--no-header", default=None, help="Whether a CSV list has a header.")
@click.option("--keep", multiple=True, metavar="COLUMN", help="Also write this column of the list.")
@click.option(
    "--rows-per-file",
    type=click.IntRange(min=1),
    metavar="N",
    help="Begin a new file after N rows.",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted run stopped.")
@json_option
def route(  # noqa: PLR0917 - click hands options over by name
    lists: tuple[str, ...],
    out: Path,
    store: Path | None,
    target: str | None,
    region: str | None,
    column: str | None,
    delimiter: str | None,
    encoding: str | None,
    header: bool | None,
    keep: tuple[str, ...],
    rows_per_file: int | None,
    resume: bool,
    as_json: bool,
) -> int:
    """Make a LIST of people's numbers into files ready to send, one per operator or route.

    A LIST is CSV, Parquet or Arrow, also .gz or .zst; several files, a folder, or "-" for standard
    input. Only the number, its route and the row's place in the list leave; --keep adds columns.
    """
    try:
        from numroute.campaign.run import (  # noqa: PLC0415 - needs the extra `campaign`
            Campaign,
            OutputSettings,
            Wanted,
            run_campaign,
        )
    except ModuleNotFoundError as error:
        raise SettingError(
            f"the package {error.name} is missing",
            hint="Install it: pip install 'numroute[campaign]'",
        ) from None
    campaign = Campaign(
        lists=lists,
        out=out,
        wanted=Wanted(
            region=region or None,
            column=column,
            keep=keep,
            delimiter="\t" if delimiter in {"tab", "\\t"} else delimiter,
            encoding=encoding,
            has_header=header,
        ),
        output=OutputSettings(rows_per_file=rows_per_file),
        resume=resume,
    )
    begin = time.monotonic()
    with _router(store, target) as router, _Bar() as bar:
        summary = run_campaign(campaign, router, bar)
    if as_json:
        print_json(summary)
    else:
        _print(summary, out, time.monotonic() - begin)
    return 0


@contextlib.contextmanager
def _router(store: Path | None, target: str | None) -> Iterator[Router]:
    from numroute.campaign.routers import ServiceRouter, SnapshotRouter  # noqa: PLC0415

    store, target = one_of(store, target)
    if target:
        from numroute.client import Client  # noqa: PLC0415 - a store needs no gRPC

        with Client(target) as client:
            yield ServiceRouter(client)
        return
    if store is None:
        raise SettingError("there is nothing to ask", hint="Give --store DIR or --target HOST:PORT")
    with SnapshotStore(store).open() as snapshot:
        yield SnapshotRouter(snapshot)


class _Bar:
    """Progress with rate and time left, on standard error, only where it is a terminal."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - only for a terminal
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

            self._progress = Progress(
                TextColumn("routing"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,} a second"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._progress.add_task("", total=None, rows=0, rate=0)
            self._progress.start()
            self._begin = time.monotonic()
        return self

    def __call__(self, *, rows: int, bytes_done: int, bytes_total: int) -> None:
        if self._progress is None or self._task is None:
            return
        rate = int(rows / max(time.monotonic() - self._begin, 1e-3))
        self._progress.update(
            self._task, completed=bytes_done, total=bytes_total or None, rows=rows, rate=rate
        )

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()


def _print(summary: Summary, out: Path, seconds: float) -> None:
    steps = summary.steps
    print_table(
        ("step", "rows"),
        [
            ("read", f"{steps.rows:,}"),
            ("rejected", f"{steps.rejected:,}"),
            ("duplicates", f"{steps.duplicates:,}"),
            ("suppressed", f"{steps.suppressed:,}"),
            ("refused by the policy", f"{steps.refused:,}"),
            ("routed", f"{steps.routed:,}"),
        ],
    )
    print_table(
        ("route", "numbers", "files"),
        [(each.name, f"{each.numbers:,}", ", ".join(each.files[:3])) for each in summary.routes],
    )
    print_table(
        ("not sent", "rows", "meaning"),
        [(each.reason, f"{each.rows:,}", each.rule or each.meaning) for each in summary.rejects],
    )
    rate = steps.rows / max(seconds, 1e-9)
    click.echo(f"{out}: {seconds:.1f} s, {rate:,.0f} rows a second", err=True)
