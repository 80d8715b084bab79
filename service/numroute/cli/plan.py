"""``numroute plan``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from numroute.cli.console import print_facts, print_json, print_table
from numroute.cli.group import EXIT_ERROR
from numroute.cli.options import (
    FILE,
    Command,
    Finite,
    json_option,
    optional_store_option,
    setting,
)
from numroute.plan import interpolate, measure, table

_AMOUNT = Finite(min=1)
_COUNT = click.IntRange(min=1)
_SHARE = Finite(0, 1, min_open=True, max_open=True)
_MILLISECONDS = Finite(min=0, min_open=True)


def _option(
    name: str, kind: click.ParamType[Any], metavar: str, text: str, default: float | None = None
) -> Command:
    return click.option(
        name, type=kind, metavar=metavar, default=default, show_default=True, help=text
    )


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
@_option("--rate", _AMOUNT, "N", "Numbers a second, e.g. 2e6.")
@_option("--ported", _AMOUNT, "N", "Ported numbers in the registry.")
@_option("--batch", _COUNT, "N", "Numbers in one call.", 1000)
@click.option(
    "--gathered/--not-gathered",
    default=True,
    help="With --batch 1: whether clients gather single numbers into calls; by default they do.",
)
@_option("--clients", _COUNT, "N", "Processes that gather single numbers.", 1)
@_option("--p99", _MILLISECONDS, "MS", "What 99 % of calls must stay below, in milliseconds.")
@_option(
    "--spare",
    click.IntRange(min=0),
    "N",
    "Machines that may be away while the others carry the load.",
    0,
)
@_option(
    "--load", _SHARE, "SHARE", "Share of a core's capacity that may be used.", interpolate.LOAD_MAX
)
@_option("--network", _AMOUNT, "BITS", "Bits a second that a machine can send, and receive.", 10e9)
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
    p99: float | None,
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
        p99_seconds=p99 and p99 / 1e3,
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
