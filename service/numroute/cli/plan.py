"""``numroute plan``."""

from __future__ import annotations

import math
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from numroute.cli.console import plain, print_facts, print_json, print_table
from numroute.cli.group import EXIT_ERROR
from numroute.cli.options import FILE, json_option, setting

DEFAULT_FILE = Path("numroute-calibration.json")


class Quantity(click.ParamType[float]):
    """A number with a unit, as people write it; more than 0, or at least 1 if ``whole``."""

    name = "quantity"

    def __init__(self, units: Mapping[str, float], examples: str, *, whole: bool = False) -> None:
        """Take what each unit is worth, and examples for the message of an error."""
        self._units, self._examples, self._whole = units, examples, whole

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click declares it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number; refuse one without a unit where there must be one."""
        match = _QUANTITY.fullmatch(str(value))
        scale = self._units.get(match[2].lower(), 0.0) if match else 0.0
        number = float(match[1].replace(",", "")) * scale if match and scale else 0.0
        if not 0 < number < math.inf or (self._whole and number != int(number)):
            self.fail(f"{value!r} cannot be used: write it like {self._examples}", param, ctx)
        return int(number) if self._whole else number


_QUANTITY = re.compile(r"([0-9][0-9_,]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?) ?([A-Za-zµ]*)")
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_COUNT = Quantity(_SCALES, "2e6, 2M, 500k or 1,000", whole=True)
_RATE = Quantity(_SCALES, "2e6, 10G, 500k or 1,000")
_DURATION = Quantity({"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}, "5ms, 800us or 0.5s")


@click.command()
@click.option("--calibrate", is_flag=True, help="Measure this machine, in about a minute.")
@setting(
    "--calibration",
    "File that --calibrate writes and capacity plans read.",
    type=FILE,
    default=DEFAULT_FILE,
    metavar="FILE",
)
@click.option("--rate", type=_RATE, metavar="N", help="Numbers a second, e.g. 2e6 or 2M.")
@click.option(
    "--ported",
    type=_COUNT,
    metavar="N",
    help="Ported numbers in the registry, e.g. 30e6. With --calibrate: the most that may be asked "
    "for; 30M by default.",
)
@click.option(
    "--batch",
    type=_COUNT,
    metavar="N",
    default="1000",
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
    "--p99", type=_DURATION, metavar="TIME", help="What 99 % of calls must stay below, e.g. 5ms."
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
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.7,
    show_default=True,
    help="Share of a core's capacity that may be used.",
)
@click.option(
    "--network",
    type=_RATE,
    metavar="BITS",
    default="10G",
    show_default=True,
    help="Bits a second that a machine can send, and receive.",
)
@json_option
def plan(
    *,
    calibrate: bool,
    calibration: Path,
    rate: float | None,
    ported: int | None,
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
        _calibrate(calibration, ported or 30_000_000, as_json=as_json)
        return 0
    known = table.load(calibration)
    if rate is None or ported is None:
        raise click.UsageError(
            "there is nothing to plan: give --rate N and --ported N, or --calibrate"
        )
    asked = interpolate.Requirements(
        rate=rate,
        ported=ported,
        batch=batch,
        p99_seconds=p99,
        spare=spare,
        load_max=load,
        network_bits=network,
        gathered=gathered and batch == 1,
        clients=clients,
    )
    answer = interpolate.plan(known, asked)
    warnings = report.warnings(known, table.this_machine(Path(tempfile.gettempdir())))
    if as_json:
        _warn(warnings)
        print_json({"asked": asked, "plan": answer, "calibration": known})
    else:
        print_facts([*report.facts(asked, answer), *(("note", text) for text in warnings)])
    return 0 if answer.p99_reached else EXIT_ERROR


def _calibrate(path: Path, ported: int, *, as_json: bool) -> None:
    from numroute.plan import measure, report, table  # noqa: PLC0415 - likewise

    def show(text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"measuring: {text}", err=True)

    table.require_writable(path)
    made = measure.calibrate(Path(tempfile.gettempdir()), measure.Effort(ported=ported), show)
    table.save(made, path)
    _warn(report.warnings(made, made.machine))
    if as_json:
        print_json({"calibration": path, **plain(made)})
    else:
        print_table(report.CALIBRATION_HEADINGS, report.calibration_rows(made))
        click.echo(f"written to {path}")


def _warn(texts: list[str]) -> None:
    for text in texts:
        click.echo(f"numroute: warning: {text}", err=True)
