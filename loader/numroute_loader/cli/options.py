"""Options that several commands share: approval of new content, reasons, and retention."""

from __future__ import annotations

import functools
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from numroute.index import Retention
from numroute.index.store import KEEP_DAILY, KEEP_LAST
from numroute_loader.approval import Approval
from numroute_loader.gate import OVERRIDABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., Any]

KEEP_MAX = 1_000_000

reason_option = click.option("--reason", default="", help="Why; it is recorded in the history.")


def approval_options(command: Command) -> Command:
    """Give a command the options of an ``Approval`` as one argument ``approval``."""
    return _gathered(
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
    return _gathered(
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


def _gathered(
    command: Command, argument: str, make: Command, options: tuple[Command, ...]
) -> Command:
    """Add options to a command, and hand their values over as one argument."""

    @functools.wraps(command)
    def with_argument(**values: Any) -> Any:  # noqa: ANN401 - click's
        gathered = {name: values.pop(name) for name in names}
        return command(**{argument: make(**gathered)}, **values)

    decorated: Command = with_argument
    before = {each.name for each in getattr(decorated, "__click_params__", ())}
    for option in reversed(options):
        decorated = option(decorated)
    params = getattr(decorated, "__click_params__", ())
    names = [each.name for each in params if each.name not in before]
    return decorated


def _file(name: str, text: str) -> Command:
    return click.option(
        name,
        envvar=f"NUMROUTE_{name[2:].upper()}",
        show_envvar=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=text,
    )


def _keep(name: str, default: int, metavar: str, keeps: str) -> Command:
    return click.option(
        name,
        envvar=f"NUMROUTE_{name[2:].upper().replace('-', '_')}",
        show_envvar=True,
        type=click.IntRange(0, KEEP_MAX),
        default=default,
        show_default=True,
        metavar=metavar,
        help=f"Keep {keeps}.",
    )
