"""The options that say which snapshots publishing keeps, and ``numroute-load prune``."""

from __future__ import annotations

import functools
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from numroute.cli.console import print_facts, print_json, print_table, time_text
from numroute.cli.options import json_option, store_option
from numroute.index import Retention, SnapshotStore, writing
from numroute.index.store import KEEP_DAILY, KEEP_LAST
from numroute_loader.cli.terminal import user_name

if TYPE_CHECKING:
    from collections.abc import Callable

KEEP_MAX = 1_000_000
_NAMES = ("keep_last", "keep_daily", "keep_within")


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


@click.command()
@store_option
@retention_options
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@json_option
def prune(*, store: Path, retention: Retention, dry_run: bool, as_json: bool) -> None:
    """Remove the snapshots that no rule keeps.

    Without a --keep option, the rules are those of publishing; with one or more, exactly those. The
    current snapshot, the one before it and pinned ones always stay.
    """
    opened = SnapshotStore(store)
    rules = _only_named(retention)
    with writing(opened) as writer:
        sizes = {each: opened.snapshot_path(each).stat().st_size for each in opened.ids()}
        judged = writer.prune(rules, dry_run=dry_run, asked_by=user_name())
    removed = [each.snapshot for each in judged if not each.reasons]
    freed = sum(sizes[each] for each in removed)
    if as_json:
        print_json(
            {
                "removed": removed,
                "kept": [
                    {"id": each.snapshot, "reasons": each.reasons}
                    for each in judged
                    if each.reasons
                ],
                "freed_bytes": freed,
                "dry_run": dry_run,
            }
        )
        return
    gone = "would be removed" if dry_run else "removed"
    print_table(
        ("snapshot", "published", "bytes", "kept as"),
        [
            (
                each.snapshot,
                time_text(each.published),
                f"{sizes[each.snapshot]:,}",
                ", ".join(each.reasons) or gone,
            )
            for each in judged
        ],
    )
    print_facts([(gone, f"{len(removed)} of {len(judged)} snapshots, {freed:,} bytes")])


def _only_named(retention: Retention) -> Retention:
    """Return the rules named on the command line alone, all of them when none is."""
    context = click.get_current_context()
    last, daily, within = (
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in _NAMES
    )
    if not (last or daily or within):
        return retention
    return Retention(
        last=retention.last if last else 0,
        daily=retention.daily if daily else 0,
        within=retention.within if within else timedelta(0),
    )
