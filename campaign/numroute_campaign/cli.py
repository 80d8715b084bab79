"""``numroute route``, ``numroute rejoin`` and ``numroute check-handover``.

Each command imports its work only when it runs, which keeps ``--help`` fast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from numroute.cli.options import FILE, FOLDER, Command, json_option, region_option
from numroute.cli.service import Connect, source_options
from numroute_campaign.vocabulary import (
    CATEGORIES,
    FORMS,
    LANGUAGES,
    PSEUDONYM,
    REJECTS_MAX,
    SEGMENTS_MAX,
    SEVERAL,
)

_SAMPLE_ROWS: Final = 20
_SAMPLE_ROWS_MAX: Final = 10_000

_file_option = partial(click.option, metavar="FILE", type=FILE)


def _read_options(prefix: str, what: str) -> Callable[[Command], Command]:
    """Return a decorator that adds the options for reading lists."""
    column = f"The phone column of {what}: its name, or its place from 1."
    delimiter = f"Cell delimiter of {what} (CSV); 'tab' for a tab."
    encoding = f"Encoding of {what} (CSV), e.g. cp1251."
    header = f"Whether the first row of {what} is a header (CSV, spreadsheets)."
    sheet = "The sheet to read of a workbook; default the first with phone numbers."
    options = (
        click.option(f"--{prefix}column", metavar="NAME", help=column),
        click.option(f"--{prefix}delimiter", metavar="CHAR", help=delimiter),
        click.option(f"--{prefix}encoding", metavar="NAME", help=encoding),
        click.option(f"--{prefix}header/--no-{prefix}header", default=None, help=header),
        click.option(f"--{prefix}sheet", metavar="NAME", help=sheet),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command(context_settings={"show_default": True})
@click.argument("lists", nargs=-1, required=True, metavar="LIST...")
@click.option("--out", type=FOLDER, help="Output folder; it appears at the end, complete.")
@source_options
@region_option
@_read_options("", "the list")
@click.option(
    "--several",
    type=click.Choice(list(SEVERAL)),
    default="first",
    help="For cells with several numbers: take the first mobile one, or all, or reject the row.",
)
@click.option(
    "--max-rejected",
    type=click.FloatRange(0, 1),
    default=REJECTS_MAX,
    metavar="SHARE",
    help="Fail (status 1) when a larger share of the rows has no number.",
)
@_file_option("--policy", help="TOML file of rules; else by operator.")
@click.option("--dry-run", is_flag=True, help="Write nothing; show what decides the first rows.")
@click.option(
    "--sample",
    type=click.IntRange(1, _SAMPLE_ROWS_MAX),
    default=_SAMPLE_ROWS,
    metavar="N",
    help="Rows that --dry-run explains.",
)
@click.option("--suppress", multiple=True, metavar="LIST", help="Do-not-send list; repeatable.")
@_read_options("suppress-", "do-not-send lists")
@click.option("--suppress-lenient", is_flag=True, help="Ignore do-not-send rows not understood.")
@_file_option("--prices", help="TOML file of prices per operator.")
@click.option(
    "--category",
    type=click.Choice(CATEGORIES),
    help="Traffic category of the messages; wins over the price file's.",
)
@click.option(
    "--segments",
    type=click.IntRange(1, SEGMENTS_MAX),
    metavar="N",
    help="Segments of each message; wins over the price file's.",
)
@click.option("--segments-column", metavar="NAME", help="Column of the list with the segments.")
@click.option("--keep", multiple=True, metavar="COLUMN", help="Also write this column of the list.")
@_file_option(
    "--pseudonymize",
    metavar="KEYFILE",
    help="Write a keyed HMAC in place of the number; the key file is made if missing.",
)
@_file_option(
    "--map",
    "map_path",
    help="New file for the map of pseudonyms, in a folder apart from output and key.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMS), default="csv", help="Form of the output files."
)
@click.option(
    "--rows-per-file", type=click.IntRange(1), metavar="N", help="Begin a new file after N rows."
)
@click.option(
    "--language", type=click.Choice(LANGUAGES), default="en", help="Language of the report page."
)
@json_option
def route(
    lists: tuple[str, ...],
    out: Path | None,
    source: Path | Connect,
    **options: Any,  # noqa: ANN401 - click hands the other options over by name
) -> int:
    """Make a LIST of people's numbers into files ready to send, one per operator or route.

    A LIST is CSV (also .gz or .zst), a spreadsheet (.xlsx, .xls, .ods), Parquet or Arrow; several
    files, a folder, or "-" for standard input. Duplicates, do-not-send numbers and rows without a
    number are rejected with a reason. Only the number, its route and the row's place in the list
    are written; --keep adds columns. Exit status 1 also when more than --max-rejected of the rows
    have no number, or no number was routed.
    """
    from numroute_campaign import command  # noqa: PLC0415 - slow to import

    return command.route_lists(lists, out, source, options)


@click.command(context_settings={"show_default": True})
@click.argument("report")
@_file_option(
    "--map", "map_path", required=True, help="The map that `numroute route --pseudonymize` wrote."
)
@_file_option("--out", required=True, help="CSV file to write, with the numbers.")
@click.option(
    "--column",
    default=PSEUDONYM,
    metavar="NAME",
    help="The report's column of pseudonyms: its name, or place from 1.",
)
@click.option("--encoding", metavar="NAME", help="Encoding of the report, e.g. cp1251.")
@json_option
def rejoin(
    report: str, map_path: Path, out: Path, column: str, encoding: str | None, as_json: bool
) -> int:
    """Put the numbers back into a delivery REPORT that has pseudonyms.

    The REPORT is CSV, a spreadsheet, Parquet or Arrow. The output has all its columns and, last,
    the number; empty where the map does not have the pseudonym.
    """
    from numroute.cli.console import print_json  # noqa: PLC0415 - slow to import
    from numroute_campaign import handover  # noqa: PLC0415 - likewise

    rows, unknown = handover.rejoin(report, map_path, out, column=column, encoding=encoding)
    if as_json:
        print_json({"out": out, "rows": rows, "unknown": unknown})
    else:
        click.echo(f"{out}: {rows - unknown:,} of {rows:,} rows have their number")
    if unknown:
        click.echo(f"warning: the map does not have {unknown:,} pseudonyms", err=True)
    return 0


@click.command("check-handover")
@click.argument("folder", type=click.Path(path_type=Path))
@region_option
@json_option
def check_handover(folder: Path, region: str | None, as_json: bool) -> int:
    """Search an output FOLDER for columns and cells that look like personal data.

    Looks for names, e-mail and postal addresses, dates of birth, phone numbers and documents, in
    the names of columns and in cells. Exit status 1 when something was found, or a file could not
    be read.
    """
    from numroute.cli.console import print_json, print_table  # noqa: PLC0415 - slow to import
    from numroute_campaign import personal_data  # noqa: PLC0415 - likewise

    check = personal_data.check_handover(folder, region or None)
    if as_json:
        print_json(check)
    elif check.findings:
        headings = ("file", "column", "looks like", "cells", "of", "rows")
        rows = [
            (
                each.file,
                each.column,
                each.kind,
                f"{each.cells:,}" if each.cells else "by its name",
                f"{each.filled:,}",
                ", ".join(map(str, each.rows)),
            )
            for each in check.findings
        ]
        print_table(headings, rows)
    else:
        click.echo(
            f"{folder}: nothing looks like personal data in {check.rows:,} rows; "
            f"files: {len(check.files):,}"
        )
    for name in check.unread:
        click.echo(f"warning: {name}: not searched: it is damaged, or of an unknown form", err=True)
    return 1 if check.findings or check.unread else 0
