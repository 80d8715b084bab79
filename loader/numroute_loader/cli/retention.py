"""The options that say which snapshots publishing keeps."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from numroute.index import Retention
from numroute.index.store import KEEP_DAILY, KEEP_LAST

if TYPE_CHECKING:
    from collections.abc import Callable

KEEP_MAX = 1_000_000


def retention_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that publishes the options ``--keep-...`` as one argument ``retention``."""

    @functools.wraps(command)
    def with_retention(
        *args: Any,  # noqa: ANN401 - click's
        keep_last: int,
        keep_daily: int,
        keep_within: int,
        **kwargs: Any,  # noqa: ANN401 - click's
    ) -> Any:  # noqa: ANN401 - the command's
        retention = Retention(last=keep_last, daily=keep_daily, within=timedelta(hours=keep_within))
        return command(*args, retention=retention, **kwargs)

    decorated: Callable[..., Any] = with_retention
    for decorator in (
        _option("--keep-within", 0, "HOURS", "all published so long before the newest"),
        _option("--keep-daily", KEEP_DAILY, "N", "the newest of each of the last N days"),
        _option("--keep-last", KEEP_LAST, "N", "the newest N snapshots"),
    ):
        decorated = decorator(decorated)
    return decorated


def _option(
    name: str, default: int, metavar: str, keeps: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
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
