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
from numroute.errors import SettingError

if TYPE_CHECKING:
    from numroute.plan.calibration import Calibration

DEFAULT_FILE = Path("numroute-calibration.json")


@click.command()
@click.option("--calibrate", is_flag=True, help="Measure this machine, in under a minute.")
@click.option("--check", is_flag=True, help="Hold predictions against measurements made now.")
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
@click.option("--ported", metavar="N", help="Ported numbers in the registry, e.g. 30e6 or 30M.")
@click.option(
    "--batch", metavar="N", default="1000", show_default=True, help="Numbers in one call."
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
    check: bool,
    calibration: Path,
    rate: str | None,
    ported: str | None,
    batch: str,
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
    numroute plan --rate 2M --ported 30M --batch 1000 --p99 5ms --spare 2. Exit status 1 when the
    p99 cannot be reached: then the plan is for what is possible.
    """
    if (calibrate or check) and (rate or ported or p99):
        raise SettingError(
            "--calibrate and --check measure, they plan nothing",
            hint="Calibrate first, then ask with --rate and --ported",
        )
    if calibrate and check:
        raise SettingError("--calibrate and --check are two runs", hint="Calibrate first")
    if calibrate:
        return _calibrate(calibration, as_json=as_json)
    known = _known(calibration, other_machine=other_machine)
    if check:
        if other_machine:
            raise SettingError("--check measures this machine", hint="Leave --other-machine out")
        return _check(known, as_json=as_json)
    if rate is None or ported is None:
        raise SettingError(
            "there is nothing to plan", hint="Give --rate N and --ported N, or --calibrate"
        )
    from numroute.plan.requirements import (  # noqa: PLC0415 - only this command needs it
        Requirements,
        parse_count,
        parse_quantity,
        parse_seconds,
    )

    asked = Requirements(
        rate=parse_quantity(rate),
        ported=parse_count(ported),
        batch=parse_count(batch),
        p99_seconds=None if p99 is None else parse_seconds(p99),
        spare=spare,
        plan_numbers=parse_count(plan_numbers),
        ported_share=ported_share,
        load_max=load,
        network_bits=parse_quantity(network),
    )
    from numroute.plan import report  # noqa: PLC0415 - likewise
    from numroute.plan.model import changes  # noqa: PLC0415 - likewise
    from numroute.plan.model import plan as make_plan  # noqa: PLC0415 - likewise

    answer = make_plan(known, asked)
    tried = changes(known, asked)
    _warn(report.warnings(known))
    if as_json:
        print_json(report.document(known, asked, answer, tried))
    else:
        print_facts(report.facts(asked, answer))
        print_table(report.CHANGE_HEADINGS, report.change_rows(answer, tried))
    return 0 if answer.p99_reached else EXIT_ERROR


def _known(path: Path, *, other_machine: bool) -> Calibration:
    from numroute.plan.calibration import load, require_machine  # noqa: PLC0415 - likewise
    from numroute.plan.machine import this_machine  # noqa: PLC0415 - likewise

    known = load(path)
    if not other_machine:
        require_machine(known, this_machine(Path(tempfile.gettempdir())))
    return known


def _calibrate(path: Path, *, as_json: bool) -> int:
    from numroute.plan import calibration, measuring, report  # noqa: PLC0415 - likewise

    made = measuring.calibrate(Path(tempfile.gettempdir()), measuring.Effort(), _say)
    calibration.save(made, path)
    _warn(report.warnings(made))
    if as_json:
        print_json({"calibration": path, **plain(made)})
    else:
        print_table(report.CALIBRATION_HEADINGS, report.calibration_rows(made))
        click.echo(f"written to {path}")
    return 0


def _check(known: Calibration, *, as_json: bool) -> int:
    from numroute.plan import checking, report  # noqa: PLC0415 - likewise

    checked = checking.check(known, Path(tempfile.gettempdir()), checking.CheckEffort(), _say)
    _warn(report.warnings(known) + report.disturbances(checked.others_share, "check"))
    if as_json:
        for each in checked.comparisons:
            print_json({**plain(each), "error": each.error})
    else:
        print_table(report.CHECK_HEADINGS, report.check_rows(checked.comparisons))
    return 0 if checked.near else EXIT_ERROR


def _say(what: str) -> None:
    """Tell a person at a terminal what goes on; a pipe gets nothing."""
    if sys.stderr.isatty():
        click.echo(f"measuring: {what}", err=True)


def _warn(texts: list[str]) -> None:
    for text in texts:
        click.echo(f"numroute: warning: {text}", err=True)
