"""``numroute serve``."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import TYPE_CHECKING, Any

import click

from numroute.cli.console import print_facts, print_json
from numroute.cli.group import Daemon
from numroute.cli.options import json_option, store_option
from numroute.cli.security import security_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from numroute.cli.options import Command
    from numroute.server.settings import Security, ServerSettings

WORKERS_MAX = 256
WORKER_MEGABYTES_MIN = 128
WORKER_MEGABYTES_MAX = 1 << 20
HOURS_MAX = 1_000_000
SECONDS_MAX = 86_400


class Finite(click.FloatRange):
    """A number in a range; refuses ``nan``, which passes every comparison."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click declares it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Refuse ``nan``, and a unit: it is that of the option."""
        unit = f" of {param.metavar.lower()}" if param is not None and param.metavar else ""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            self.fail(f"{value!r} is not a number{unit}", param, ctx)
        return super().convert(number, param, ctx)


def max_age_option(effect: str) -> Callable[[Command], Command]:
    """Return the option for the age from which data is stale; ``effect`` says what happens then."""
    return click.option(
        "--max-age",
        "max_age_hours",
        envvar="NUMROUTE_MAX_AGE",
        show_envvar=True,
        type=Finite(min=0, min_open=True, max=HOURS_MAX),
        metavar="HOURS",
        help=f"When the data is older than this, {effect}.",
    )


check_option = click.option(
    "--check", is_flag=True, help="Check settings, files and store, say what would run, and end."
)


@click.command(cls=Daemon)
@store_option
@click.option(
    "--listen",
    envvar="NUMROUTE_LISTEN",
    show_envvar=True,
    default="127.0.0.1:50051",
    show_default=True,
    metavar="HOST:PORT",
    help="Address to listen on; with port 0 the system chooses a free port.",
)
@max_age_option("mark answers as stale and report not ready")
@click.option(
    "--drain",
    "drain_seconds",
    envvar="NUMROUTE_DRAIN",
    show_envvar=True,
    type=Finite(min=0, max=SECONDS_MAX),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long calls under way may take to end after SIGTERM.",
)
@click.option(
    "--workers",
    envvar="NUMROUTE_WORKERS",
    show_envvar=True,
    type=click.IntRange(1, WORKERS_MAX),
    default=lambda: min(len(os.sched_getaffinity(0)), WORKERS_MAX),
    show_default="one for each core",
    metavar="COUNT",
    help="Number of worker processes.",
)
@click.option(
    "--worker-memory",
    "worker_megabytes",
    envvar="NUMROUTE_WORKER_MEMORY",
    show_envvar=True,
    type=click.IntRange(WORKER_MEGABYTES_MIN, WORKER_MEGABYTES_MAX),
    default=2048,
    show_default=True,
    metavar="MIB",
    help="Replace a worker that has taken more memory than this, the index not counted.",
)
@click.option(
    "--metrics",
    envvar="NUMROUTE_METRICS",
    show_envvar=True,
    metavar="HOST:PORT",
    help="Serve Prometheus metrics and probes over HTTP here: /metrics, /livez, /readyz.",
)
@security_options
@check_option
@json_option
def serve(  # noqa: PLR0917 - click gives one for each option
    store: Path,
    listen: str,
    max_age_hours: float | None,
    drain_seconds: float,
    workers: int,
    worker_megabytes: int,
    metrics: str | None,
    security: Security,
    check: bool,
    as_json: bool,
) -> int:
    """Answer lookups over gRPC from the store's current snapshot.

    A newly published snapshot answers within a second. SIGTERM or Ctrl-C drains and stops, SIGHUP
    replaces the worker processes one by one without an interruption.
    """
    from numroute.server import ServerSettings  # noqa: PLC0415 - only this command needs gRPC
    from numroute.server import serve as run_service  # noqa: PLC0415

    settings = ServerSettings(
        store=store,
        listen=listen,
        max_age=None if max_age_hours is None else timedelta(hours=max_age_hours),
        drain_seconds=drain_seconds,
        workers=workers,
        worker_memory=worker_megabytes << 20,
        security=security,
        metrics=metrics,
    )
    if not check:
        return run_service(settings)
    facts = {
        "reflection": "yes" if security.offers_reflection(settings.host) else "no",
        "workers": f"{workers:,}, each replaced beyond {worker_megabytes:,} MiB",
        "drain": f"{drain_seconds:g} s",
        "stale": "never" if max_age_hours is None else f"when older than {max_age_hours:g} h",
        "metrics": metrics or "none",
    }
    print_check(settings, facts, as_json=as_json)
    return 0


def print_check(settings: ServerSettings, facts: dict[str, str], *, as_json: bool) -> None:
    """Print what a service with these settings would do, followed by ``facts``.

    Raises:
        NumrouteError: It would not start, or could not answer.
    """
    from numroute.server.check import check  # noqa: PLC0415 - gRPC

    facts = check(settings) | facts
    if as_json:
        print_json(facts)
    else:
        print_facts(facts.items())
