"""What several commands share: options of approval, reasons and retention; the user's name."""

from __future__ import annotations

import getpass
import os
from typing import Any

import click

from numroute.cli.options import EXISTING_FILE, Command, as_hours, gathered, setting
from numroute.index import Retention
from numroute_loader.gate.checks import OVERRIDABLE
from numroute_loader.gate.limits import Approval

KEEP_MAX = 1_000_000


def _file(name: str, text: str) -> Command:
    return setting(name, text, type=EXISTING_FILE)


def _keep(name: str, default: int, metavar: str, keeps: str, **more: Any) -> Command:  # noqa: ANN401 - click's
    kind = click.IntRange(0, KEEP_MAX)
    argument = name.removeprefix("--keep-")
    return setting(
        name, f"Keep {keeps}.", argument, default=default, type=kind, metavar=metavar, **more
    )


reason_option = click.option("--reason", default="", help="Why; it is recorded in the history.")

approval_options = gathered(
    "approval",
    Approval,
    _file("--brands", "Table of brands whose rows override the built-in ones."),
    _file("--limits", "TOML file of limits of the gate that override the built-in ones."),
    _file(
        "--expect",
        "File of chosen numbers: lines of NUMBER,OPERATOR CODE that must come true.",
    ),
    click.option(
        "--allow",
        "allowed",
        type=click.Choice(OVERRIDABLE),
        metavar="CHECK",
        multiple=True,
        help="Let this check of the gate fail; may be repeated, with --reason. "
        f"Checks: {', '.join(OVERRIDABLE)}.",
    ),
    reason_option,
)
"""By what the gate judges; a command receives it as one argument ``approval``."""

retention_options = gathered(
    "retention",
    Retention,
    _keep("--keep-last", Retention().last, "N", "the newest N snapshots"),
    _keep("--keep-daily", Retention().daily, "N", "the newest of each of the last N days"),
    _keep(
        "--keep-within",
        0,
        "HOURS",
        "all published within HOURS before the newest",
        callback=as_hours,
    ),
)
"""What publishing keeps; a command receives it as one argument ``retention``."""


def user_name() -> str:
    """Return the user's name; the numeric id of a user without one, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
