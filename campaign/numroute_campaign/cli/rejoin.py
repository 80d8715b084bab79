"""``numroute rejoin``."""

from __future__ import annotations

from pathlib import Path

import click

from numroute.errors import SettingError

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("report")
@click.option(
    "--map",
    "map_path",
    required=True,
    metavar="FILE",
    type=_FILE,
    help="The map that `numroute route --pseudonymize` wrote.",
)
@click.option(
    "--out", required=True, metavar="FILE", type=_FILE, help="CSV file to write, with the numbers."
)
@click.option(
    "--column",
    default="pseudonym",
    show_default=True,
    metavar="NAME",
    help="The report's column of pseudonyms.",
)
@click.option("--encoding", metavar="NAME", help="Encoding of the report, e.g. cp1251.")
def rejoin(report: str, map_path: Path, out: Path, column: str, encoding: str | None) -> int:
    """Put the numbers back into a delivery REPORT that has pseudonyms.

    The REPORT is CSV, Parquet or Arrow. The output has all its columns and, last, the number; empty
    where the map does not have the pseudonym.
    """
    try:
        from numroute_campaign.rejoin import rejoin as run  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        raise SettingError(
            f"the package {error.name} is missing",
            hint="Install it: pip install 'numroute[campaign]'",
        ) from None
    done = run(report, map_path, out, column=column, encoding=encoding)
    click.echo(f"{out}: {done.rows - done.unknown:,} of {done.rows:,} rows have their number")
    if done.unknown:
        click.echo(f"warning: the map does not have {done.unknown:,} pseudonyms", err=True)
    return 0
