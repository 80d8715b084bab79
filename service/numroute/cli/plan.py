"""``numroute plan``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from numroute.cli.console import print_facts, print_json, print_table
from numroute.cli.group import EXIT_ERROR
from numroute.cli.options import FILE, Finite, json_option, optional_store_option, setting
from numroute.plan import interpolate, measure, table

_AMOUNT = Finite(min=1, max=1e15)


@click.command()
@click.option("--calibrate", is_flag=True, help="Measure this machine, in about a minute.")
@optional_store_option
@setting(
    "--calibration",
    "File that --calibrate writes and capacity plans read.",
    type=FILE,
    default=Path("numroute-calibration.json"),
    metavar="FILE",
)
@click.option("--rate", type=_AMOUNT, metavar="N", help="Numbers a second, e.g. 2e6.")
@click.option("--ported", type=_AMOUNT, metavar="N", help="Ported numbers in the registry.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    default=1000,
    show_default=True,
    help="Numbers in one call.",
)
@click.option(
    "--gathered/--not-gathered",
    default=True,
    help="With --batch 1: whether clients gather single numbers into calls; by default they do.",
)
@click.option(
    "--clients",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that gather single numbers.",
)
@click.option(
    "--p99",
    "p99_milliseconds",
    type=Finite(min=0, min_open=True, max=1e6),
    metavar="MS",
    help="What 99 % of calls must stay below, in milliseconds.",
)
@click.option(
    "--spare",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Machines that may be away while the others carry the load.",
)
@click.option(
    "--load",
    metavar="SHARE",
    type=Finite(0, 1, min_open=True, max_open=True),
    default=interpolate.LOAD_MAX,
    show_default=True,
    help="Share of a core's capacity that may be used.",
)
@click.option(
    "--network",
    type=_AMOUNT,
    metavar="BITS",
    default=10e9,
    show_default=True,
    help="Bits a second that a machine can send, and receive.",
)
@json_option
def plan(
    *,
    calibrate: bool,
    store: Path | None,
    calibration: Path,
    rate: float | None,
    ported: float | None,
    batch: int,
    gathered: bool,
    clients: int,
    p99_milliseconds: float | None,
    spare: int,
    load: float,
    network: float,
    as_json: bool,
) -> int:
    """Plan capacity: say how many machines, cores and bytes a load needs.

    First measure a machine of the kind that will serve, with --calibrate and a --store of the size
    that it will have. Then ask, e.g. numroute plan --rate 2e6 --ported 30e6 --batch 1000 --p99 5
    --spare 2. What was not measured is refused. Exit status 1 when the p99 cannot be reached: then
    the plan is for what is possible.
    """
    if calibrate:
        if store is None:
            raise click.UsageError("give --calibrate the --store to measure with")
        _calibrate(calibration, store, as_json=as_json)
        return 0
    if rate is None or ported is None:
        raise click.UsageError("give --rate N and --ported N, or --calibrate")
    known = table.load(calibration)
    asked = interpolate.Requirements(
        rate=rate,
        ported=int(ported),
        batch=batch,
        p99_seconds=p99_milliseconds and p99_milliseconds / 1e3,
        spare=spare,
        load_max=load,
        network_bits=network,
        gathered=gathered and batch == 1,
        clients=clients,
    )
    answer = interpolate.plan(known, asked)
    _warn(known, calibration.parent)
    if as_json:
        print_json({"asked": asked, "plan": answer, "calibration": known})
    else:
        print_facts(interpolate.facts(asked, answer))
    return 0 if answer.p99_reached else EXIT_ERROR


def _calibrate(path: Path, store: Path, *, as_json: bool) -> None:
    def show(text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"measuring: {text}", err=True)

    table.require_writable(path)
    made = measure.calibrate(store, measure.Effort(), show)
    table.save(made, path)
    _warn(made, path.parent)
    if as_json:
        print_json(made)
    else:
        rows = [
            (f"{row.batch:,}", f"{row.batch / row.busy_cpu_seconds[0]:,.0f}") for row in made.rows
        ]
        print_table(("numbers a call", "numbers/s a core"), rows)
        click.echo(f"written to {path}")


def _warn(calibration: table.Calibration, folder: Path) -> None:
    for text in table.warnings(calibration, table.this_machine(folder)):
        click.echo(f"numroute: warning: {text}", err=True)
