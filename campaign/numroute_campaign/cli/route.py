"""``numroute route``."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import click

from numroute.cli.console import print_json, print_table
from numroute.cli.lookup import one_of
from numroute.cli.options import (
    Folder,
    json_option,
    optional_store_option,
    region_option,
    target_option,
)
from numroute.cli.service import connect, service_options
from numroute.errors import SettingError
from numroute.index import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID

    from numroute_campaign.dry_run import Sample
    from numroute_campaign.routers import Router
    from numroute_campaign.run import Campaign
    from numroute_campaign.summary import Summary

_FORMS: Final = ("csv", "parquet", "arrow", "xlsx")
_CATEGORIES: Final = ("advertising", "transactional", "service", "authorisation")
_LANGUAGES: Final = ("en", "ru")
_SEGMENTS_MAX: Final = 255
_SAMPLE_ROWS: Final = 20
_SAMPLE_ROWS_MAX: Final = 10_000
_FILES_SHOWN: Final = 3

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("lists", nargs=-1, required=True, metavar="LIST...")
@click.option(
    "--out",
    type=Folder(file_okay=False, path_type=Path),
    help="Folder for the outputs; it appears at the end, whole.",
)
@optional_store_option
@target_option
@service_options
@region_option
@click.option("--column", metavar="NAME", help="The phone column: its name, or place from 1.")
@click.option(
    "--delimiter", metavar="CHAR", help="What parts the cells of a CSV list; 'tab' for a tab."
)
@click.option("--encoding", metavar="NAME", help="Encoding of a CSV list, e.g. cp1251.")
@click.option("--header/--no-header", default=None, help="Whether a CSV list has a header.")
@click.option(
    "--policy", metavar="FILE", type=_FILE, help="TOML file of rules; without it, by operator."
)
@click.option(
    "--dry-run", is_flag=True, help="Write nothing; say which rule decides about the first rows."
)
@click.option(
    "--sample",
    type=click.IntRange(1, _SAMPLE_ROWS_MAX),
    default=_SAMPLE_ROWS,
    show_default=True,
    metavar="N",
    help="Rows that --dry-run explains.",
)
@click.option(
    "--suppress", multiple=True, metavar="LIST", help="Do-not-send list; may be given repeatedly."
)
@click.option("--prices", metavar="FILE", type=_FILE, help="TOML file of prices per operator.")
@click.option(
    "--category",
    type=click.Choice(_CATEGORIES),
    help="Traffic category of the messages; wins over the price file's.",
)
@click.option(
    "--segments",
    type=click.IntRange(1, _SEGMENTS_MAX),
    metavar="N",
    help="Segments of each message; wins over the price file's.",
)
@click.option(
    "--segments-column", metavar="NAME", help="Column of the list that holds the segments."
)
@click.option("--keep", multiple=True, metavar="COLUMN", help="Also write this column of the list.")
@click.option(
    "--pseudonymize",
    metavar="KEYFILE",
    type=_FILE,
    help="Write a keyed HMAC in place of the number; the key file is made if missing.",
)
@click.option(
    "--map",
    "map_path",
    metavar="FILE",
    type=_FILE,
    help="Where the map of pseudonyms goes; default OUT.pseudonyms.csv.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMS),
    default="csv",
    show_default=True,
    help="Form of the output files.",
)
@click.option(
    "--rows-per-file",
    type=click.IntRange(min=1),
    metavar="N",
    help="Begin a new file after N rows.",
)
@click.option(
    "--language",
    type=click.Choice(_LANGUAGES),
    default="en",
    show_default=True,
    help="Language of the report page.",
)
@json_option
def route(
    lists: tuple[str, ...],
    out: Path | None,
    store: Path | None,
    target: str | None,
    dry_run: bool,
    sample: int,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - click hands the other options over by name
) -> int:
    """Make a LIST of people's numbers into files ready to send, one per operator or route.

    A LIST is CSV, Parquet or Arrow, also .gz or .zst; several files, a folder, or "-" for standard
    input. Duplicates, do-not-send numbers and what is no number are set aside with a reason. Only
    the number, its route and the row's place in the list leave; --keep adds columns.
    """
    if out is None:
        if not dry_run:
            raise SettingError("there is no output folder", hint="Give --out DIR, or --dry-run")
        out = Path("out")
    with _campaign_extra(), _router(store, target) as router:
        campaign = _campaign(lists, out, makes_key=not dry_run, **options)
        if dry_run:
            _print_sample(_sample(campaign, router, sample), as_json=as_json)
            return 0
        begin = time.monotonic()
        summary = _run(campaign, router)
    if as_json:
        print_json(summary)
    else:
        _print(summary, out, time.monotonic() - begin)
    return 0


@contextlib.contextmanager
def _campaign_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingError(
            f"the package {error.name} is missing",
            hint="Install it: pip install 'numroute[campaign]'",
        ) from None


def _campaign(
    lists: tuple[str, ...],
    out: Path,
    *,
    makes_key: bool,
    region: str | None,
    column: str | None,
    delimiter: str | None,
    encoding: str | None,
    header: bool | None,
    policy: Path | None,
    suppress: tuple[str, ...],
    prices: Path | None,
    category: str | None,
    segments: int | None,
    segments_column: str | None,
    keep: tuple[str, ...],
    pseudonymize: Path | None,
    map_path: Path | None,
    form: str,
    rows_per_file: int | None,
    language: str,
) -> Campaign:
    import msgspec  # noqa: PLC0415 - needs the extra

    from numroute_campaign.lists.opening import Wanted  # noqa: PLC0415
    from numroute_campaign.outputs import OutputSettings  # noqa: PLC0415
    from numroute_campaign.policy import read_policy  # noqa: PLC0415
    from numroute_campaign.prices import read_prices  # noqa: PLC0415
    from numroute_campaign.pseudonyms import load_key  # noqa: PLC0415
    from numroute_campaign.run import Campaign  # noqa: PLC0415

    price_list = read_prices(prices) if prices else None
    if category is not None:
        if price_list is None:
            raise SettingError("--category is for costs", hint="Give --prices FILE as well")
        price_list = msgspec.structs.replace(price_list, category=category)
    if segments is not None:
        if price_list is None or segments_column is not None:
            raise SettingError(
                "--segments is for costs, and for all messages alike",
                hint="Give it with --prices and without --segments-column",
            )
        price_list = msgspec.structs.replace(price_list, segments=segments)
    if map_path is not None and pseudonymize is None:
        raise SettingError("--map is for pseudonyms", hint="Give --pseudonymize KEYFILE as well")
    if pseudonymize is not None and map_path is None:
        map_path = out.parent / f"{out.name}.pseudonyms.csv"
    return Campaign(
        lists=lists,
        out=out,
        wanted=Wanted(
            region=region or None,
            column=column,
            keep=keep,
            segments_column=segments_column,
            delimiter="\t" if delimiter in {"tab", "\\t"} else delimiter,
            encoding=encoding,
            has_header=header,
        ),
        output=OutputSettings(form=form, rows_per_file=rows_per_file),
        policy=read_policy(policy) if policy else None,
        prices=price_list,
        suppress=suppress,
        key=load_key(pseudonymize, make=makes_key) if pseudonymize else None,
        map=map_path,
        language=language,
    )


def _sample(campaign: Campaign, router: Router, rows: int) -> Sample:
    from numroute_campaign.dry_run import dry_run  # noqa: PLC0415

    return dry_run(campaign, router, rows)


def _run(campaign: Campaign, router: Router) -> Summary:
    from numroute_campaign.run import run_campaign  # noqa: PLC0415

    with _Bar() as bar:
        return run_campaign(campaign, router, bar)


@contextlib.contextmanager
def _router(store: Path | None, target: str | None) -> Iterator[Router]:
    from numroute_campaign.routers import ServiceRouter, SnapshotRouter  # noqa: PLC0415

    store, target = one_of(store, target)
    if target:
        with connect(target) as client:
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
        self._begin = 0.0

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - only for a terminal
            from rich.progress import (  # noqa: PLC0415
                BarColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

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
            ("no number", f"-{steps.rejected:,}"),
            ("duplicates", f"-{steps.duplicates:,}"),
            ("do not send", f"-{steps.suppressed:,}"),
            ("refused by the policy", f"-{steps.refused:,}"),
            ("routed", f"{steps.routed:,}"),
        ],
    )
    print_table(
        ("route", "numbers", "cost", "files"),
        [
            (each.name, f"{each.numbers:,}", each.cost, _files(each.files))
            for each in summary.routes
        ],
    )
    if summary.rejects:
        print_table(
            ("not sent", "rows", "because"),
            [
                (
                    each.reason,
                    f"{each.rows:,}",
                    f"rule {each.rule!r}" if each.rule else each.meaning,
                )
                for each in summary.rejects
            ],
        )
    cost = summary.cost
    if cost is not None:
        without = (
            f", without {cost.unpriced_numbers:,} numbers that have no price"
            if cost.unpriced_numbers
            else ""
        )
        click.echo(f"Cost: {cost.total} {cost.currency}{without}")
        click.echo(
            f"Saved: {cost.saved_duplicates} {cost.currency} by dropping duplicates, "
            f"{cost.saved_by_prefix} {cost.currency} against routing by prefix"
        )
    share = summary.ported / max(steps.routed, 1)
    click.echo(
        f"Ported: {summary.ported:,} of the routed numbers ({share:.1%}); routing by prefix would "
        f"send {summary.misrouted_by_prefix:,} to the wrong operator"
    )
    columns = ", ".join(summary.dropped_columns) or "none"
    kept = ", ".join(summary.kept_columns) or "none"
    click.echo(f"Columns that stayed here: {columns}; kept: {kept}")
    for warning in summary.warnings:
        click.echo(f"warning: {warning}", err=True)
    rate = steps.rows / max(seconds, 1e-9)
    click.echo(f"{out}: {seconds:.1f} s, {rate:,.0f} rows a second", err=True)


def _files(names: tuple[str, ...]) -> str:
    if len(names) <= _FILES_SHOWN:
        return ", ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names):,} files)"


def _print_sample(sample: Sample, *, as_json: bool) -> None:
    if as_json:
        for row in sample.rows:
            print_json(row)
    else:
        print_table(
            ("row", "number", "status", "operator", "region", "rule", "to"),
            [
                (
                    str(row.row_id),
                    row.number,
                    row.status,
                    row.operator,
                    row.region,
                    row.rule,
                    row.destination or row.reason,
                )
                for row in sample.rows
            ],
        )
    for warning in sample.warnings:
        click.echo(f"warning: {warning}", err=True)
