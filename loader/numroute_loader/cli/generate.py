"""``numroute-load generate``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click

from numroute.cli.console import Bars, plain, print_facts, print_json, print_table
from numroute.cli.options import EXISTING_FILE, json_option
from numroute_loader.generate import GenerateOptions
from numroute_loader.generate import generate as generate_registry
from numroute_loader.generate.options import CHANGES_MAX, DAYS_MAX, PORTED_MAX, Tier

_REGISTRY_TIME = timezone(timedelta(hours=3))
"""The dumps are named by Moscow time."""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--ported",
    type=click.IntRange(1, PORTED_MAX),
    default=1_000_000,
    show_default=True,
    help="Ported numbers in the full dump.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--date",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Day in the (last) dumps' names; today by default. Equal options give equal files.",
)
@click.option(
    "--days",
    type=click.IntRange(0, DAYS_MAX),
    default=0,
    show_default=True,
    help="Days of increments before --date, twelve windows each, with a full dump, operators and "
    "plan of every midnight; the first full dump is then that many days older.",
)
@click.option(
    "--changes-per-window",
    type=click.IntRange(0, CHANGES_MAX),
    default=2000,
    show_default=True,
    help="Rows of Port_Increment and Return_Increment of one window together.",
)
@click.option(
    "--first-dump-only", is_flag=True, help="Write no full dumps after the first, only increments."
)
@click.option(
    "--tier",
    "tiers",
    type=click.Choice(list(Tier), case_sensitive=False),
    multiple=True,
    default=[Tier.PORT_ALL],
    show_default=True,
    help="Kind of full dump to write; may be given several times.",
)
@click.option("--csv", "plain_csv", is_flag=True, help="Write .csv instead of .zip dumps.")
@click.option(
    "--plan",
    multiple=True,
    type=EXISTING_FILE,
    help="Lay the ported numbers over this real plan file; may be given several times.",
)
@json_option
def generate(
    *,
    folder: Path,
    day: datetime | None,
    first_dump_only: bool,
    plain_csv: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - those that GenerateOptions takes by the same name
) -> None:
    """Write a synthetic registry into FOLDER, in the real files' formats.

    The numbers are made up; the shape is that of the Russian registry and numbering plan.
    """
    today = datetime.now(UTC).astimezone(_REGISTRY_TIME)
    generated = GenerateOptions(
        date=(day or today).date(),
        zipped=not plain_csv,
        later_dumps=not first_dump_only,
        **options,
    )
    with Bars() as bars:
        written = generate_registry(folder, generated, progress=bars.report)
    if as_json:
        print_json({**plain(written), "paths": [str(path) for path in written.paths]})
        return
    sizes = [(path.name, f"{path.stat().st_size:,}") for path in written.paths]
    print_table(("file", "bytes"), sizes)
    figures = plain(written).items()
    print_facts((n.replace("_", " "), f"{v:,}") for n, v in figures if isinstance(v, int))
