"""What several commands share: options of approval, reasons and retention; the user's name."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from numroute.cli.options import gathered, setting
from numroute.index import Retention
from numroute.index.store import KEEP_DAILY, KEEP_LAST
from numroute_loader.gate.checks import OVERRIDABLE
from numroute_loader.gate.limits import Approval

Command = Callable[..., Any]

KEEP_MAX = 1_000_000

reason_option = click.option("--reason", default="", help="Why; it is recorded in the history.")


def approval_options(command: Command) -> Command:
    """Give a command the options of an ``Approval`` as one argument ``approval``."""
    return gathered(
        command,
        "approval",
        Approval,
        (
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
        ),
    )


def retention_options(command: Command) -> Command:
    """Give a command that publishes the options ``--keep-...`` as one argument ``retention``."""
    return gathered(
        command,
        "retention",
        lambda *, keep_last, keep_daily, keep_within: Retention(
            last=keep_last, daily=keep_daily, within=timedelta(hours=keep_within)
        ),
        (
            _keep("--keep-last", KEEP_LAST, "N", "the newest N snapshots"),
            _keep("--keep-daily", KEEP_DAILY, "N", "the newest of each of the last N days"),
            _keep("--keep-within", 0, "HOURS", "all published within HOURS before the newest"),
        ),
    )


def user_name() -> str:
    """Return the user's name; the numeric id of a user without one, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _file(name: str, text: str) -> Command:
    return setting(name, text, type=click.Path(exists=True, dir_okay=False, path_type=Path))


def _keep(name: str, default: int, metavar: str, keeps: str) -> Command:
    kind = click.IntRange(0, KEEP_MAX)
    return setting(name, f"Keep {keeps}.", default=default, type=kind, metavar=metavar)
