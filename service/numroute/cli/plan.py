"""``numroute plan``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from numroute.cli.console import plain, print_facts, print_json, print_table
from numroute.cli.group import EXIT_ERROR
from numroute.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_FILE = Path("numroute-calibration.json")


@click.command()
@click.option("--calibrate", is_flag=True, help="Measure this machine, in about a minute.")
@click.option(
    "--calibration",
    envvar="NUMROUTE_CALIBRATION",
    show_envvar=True,
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    metavar="FILE",
    help="File that --calibrate writes and plans read.",
)
@click.option("--rate", metavar="N", help="Numbers a second, e.g. 2e6 or 2M.")
@click.option(
    "--ported",
    metavar="N",
    help="Ported numbers in the registry, e.g. 30e6. With --calibrate: the most that plans may "
    "ask for; 30M by default.",
)
@click.option(
    "--batch", metavar="N", default="1000", show_default=True, help="Numbers in one call."
)
@click.option(
    "--gathered/--not-gathered",
    default=None,
    help="Numbers are asked for one by one, and clients gather them into calls. Default with "
    "--batch 1.",
)
@click.option(
    "--clients",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="With --gathered: processes that gather.",
)
@click.option("--p99", metavar="TIME", help="What 99 % of calls must stay below, e.g. 5ms.")
@click.option(
    "--spare",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Machines that may be away while the others carry the load.",
)
@click.option(
    "--plan-numbers",
    metavar="N",
    default="706.6M",
    show_default=True,
    help="Numbers in the numbering plan over which the ported ones are spread.",
)
@click.option(
    "--ported-share",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    help="Share of ported numbers among those asked for, 0 to 1. Default: as in the plan.",
)
@click.option(
    "--load",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.7,
    show_default=True,
    help="Share of a core's capacity that may be used.",
)
@click.option(
    "--network",
    metavar="BITS",
    default="10G",
    show_default=True,
    help="Bits a second that a machine can send, and receive.",
)
@click.option(
    "--other-machine",
    is_flag=True,
    help="Plan machines of the calibrated kind, although this one is another.",
)
@json_option
def plan(
    *,
    calibrate: bool,
    calibration: Path,
    rate: str | None,
    ported: str | None,
    batch: str,
    gathered: bool | None,
    clients: int,
    p99: str | None,
    spare: int,
    plan_numbers: str,
    ported_share: float | None,
    load: float,
    network: str,
    other_machine: bool,
    as_json: bool,
) -> int:
    """Say how many machines, cores and bytes a load needs.

    First measure a machine of the kind that will serve, with --calibrate. Then ask, e.g.
    numroute plan --rate 2M --ported 30M --batch 1000 --p99 5ms --spare 2. What was not measured is
    refused. Exit status 1 when the p99 cannot be reached: then the plan is for what is possible.
    """
    # Only this command needs these.
    from numroute.plan import interpolate, report, table  # noqa: PLC0415

    if calibrate:
        if rate or p99:
            raise click.UsageError(
                "--calibrate measures, it plans nothing: calibrate first, then ask with --rate and "
                "--ported"
            )
        return _calibrate(
            calibration,
            ported=report.parse_count(ported or "30M"),
            plan_numbers=report.parse_count(plan_numbers),
            ported_share=ported_share,
            as_json=as_json,
        )
    known = table.load(calibration)
    if not other_machine:
        table.require_machine(known, table.this_machine(Path(tempfile.gettempdir())))
    if rate is None or ported is None:
        raise click.UsageError(
            "there is nothing to plan: give --rate N and --ported N, or --calibrate"
        )
    asked = interpolate.Requirements(
        rate=report.parse_quantity(rate),
        ported=report.parse_count(ported),
        batch=report.parse_count(batch),
        p99_seconds=None if p99 is None else report.parse_seconds(p99),
        spare=spare,
        plan_numbers=report.parse_count(plan_numbers),
        ported_share=ported_share,
        load_max=load,
        network_bits=report.parse_quantity(network),
        gathered=report.parse_count(batch) == 1 if gathered is None else gathered,
        clients=clients,
    )
    answer = interpolate.plan(known, asked)
    if as_json:
        _warn(report.warnings(known))
        print_json({"asked": asked, "plan": answer, "calibration": plain(known)})
    else:
        notes = [("note", text) for text in report.warnings(known)]
        print_facts([*report.facts(asked, answer), *notes])
    return 0 if answer.p99_reached else EXIT_ERROR


def _calibrate(
    path: Path, *, ported: int, plan_numbers: int, ported_share: float | None, as_json: bool
) -> int:
    from numroute.plan import measure, report, table  # noqa: PLC0415 - likewise

    table.require_writable(path)
    effort = measure.Effort(ported=ported, plan_numbers=plan_numbers, ported_share=ported_share)
    made = measure.calibrate(Path(tempfile.gettempdir()), effort, _progress(as_json=as_json))
    table.save(made, path)
    _warn(report.warnings(made))
    if as_json:
        print_json({"calibration": path, **plain(made)})
    else:
        print_table(report.CALIBRATION_HEADINGS, report.calibration_rows(made))
        click.echo(f"written to {path}")
    return 0


def _progress(*, as_json: bool) -> Callable[[str], None]:
    """Report progress to a person, on standard error: measuring takes a minute or more."""
    if sys.stderr.isatty() or not as_json:
        return lambda text: click.echo(f"measuring: {text}", err=True)
    return lambda _: None


def _warn(texts: list[str]) -> None:
    for text in texts:
        click.echo(f"numroute: warning: {text}", err=True)
