"""``numroute-load watch``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from numroute.cli.options import Folder, store_option
from numroute.errors import SettingError
from numroute.index import Retention, SnapshotStore
from numroute.logs import make_logger
from numroute_loader.cli.asking import user_name
from numroute_loader.cli.retention import retention_options
from numroute_loader.cli.sftp_options import sftp_options, sftp_settings
from numroute_loader.cli.terms import terms_options
from numroute_loader.feeds.loop import StopRequested, feeding, stopping
from numroute_loader.feeds.publishing import (
    INTERVAL_SECONDS,
    PATIENCE,
    SETTLE_SECONDS,
    WatchOptions,
)
from numroute_loader.feeds.sources import Inbox
from numroute_loader.feeds.watcher import Watcher
from numroute_loader.registries.ru_bdpn_feed import FEED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute_loader.feeds.sources import Source
    from numroute_loader.terms import Terms

SECONDS_MAX = 86_400.0


@click.command()
@store_option
@retention_options
@click.option(
    "--inbox",
    envvar="NUMROUTE_INBOX",
    show_envvar=True,
    type=Folder(file_okay=False, path_type=Path),
    help="Folder in which the registry's files are put.",
)
@sftp_options
@click.option(
    "--folder",
    "folders",
    multiple=True,
    metavar="PATH",
    help="Look in this folder below the inbox or the URL's path; may be given several times. "
    "By default in all of the registry's folders that are there.",
)
@click.option("--once", is_flag=True, help="Do what there is to do and end: for cron and timers.")
@click.option(
    "--interval",
    "interval_seconds",
    envvar="NUMROUTE_INTERVAL",
    show_envvar=True,
    type=click.FloatRange(min=0, min_open=True, max=SECONDS_MAX),
    default=INTERVAL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How often to look for new files.",
)
@click.option(
    "--settle",
    "settle_seconds",
    envvar="NUMROUTE_SETTLE",
    show_envvar=True,
    type=click.FloatRange(min=0, max=SECONDS_MAX),
    default=SETTLE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Take a file when its size and time have not changed for so long.",
)
@click.option(
    "--patience",
    "patience_minutes",
    envvar="NUMROUTE_PATIENCE",
    show_envvar=True,
    type=click.FloatRange(min=0, max=10_000),
    default=PATIENCE.total_seconds() / 60,
    show_default=True,
    metavar="MINUTES",
    help="How long increments wait for the rest of a full dump that has come in part.",
)
@click.option(
    "--plan",
    "plan",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Open numbering plan, a file or a folder, read with every full dump; may be given "
    "several times.",
)
@terms_options
@click.option(
    "--consume",
    is_flag=True,
    help="Remove files from the inbox once they are in a published snapshot or older than it.",
)
@click.option(
    "--spool",
    envvar="NUMROUTE_SPOOL",
    show_envvar=True,
    type=Folder(file_okay=False, path_type=Path),
    help="Folder for local copies until they are built in; by default `spool` in the store.",
)
def watch(
    *,
    store: Path,
    inbox: Path | None,
    sftp: str | None,
    folders: tuple[str, ...],
    once: bool,
    interval_seconds: float,
    settle_seconds: float,
    patience_minutes: float,
    plan: tuple[Path, ...],
    terms: Terms,
    consume: bool,
    spool: Path | None,
    retention: Retention,
    **host: Any,  # noqa: ANN401 - what sftp_options adds
) -> int:
    """Keep a store up to date from a folder or an SFTP host where the registry's files arrive.

    Waits until uploads are complete, puts damaged files aside, builds each full dump with the
    operator table and the plan of its day, and keeps serving the last good snapshot when something
    is missing or wrong. `numroute info` shows how it does. SIGTERM or Ctrl-C stops at once; the
    next start goes on where this one stopped.
    """
    source = _source(inbox, sftp, folders or FEED.folders, **host)
    if consume and inbox is None:
        raise SettingError(
            "files are not removed from an SFTP host", hint="Leave --consume out, or give --inbox"
        )
    opened = SnapshotStore(store, create=True, retention=retention)
    options = WatchOptions(
        spool=spool or store / "spool",
        interval_seconds=interval_seconds,
        settle_seconds=settle_seconds,
        patience=timedelta(minutes=patience_minutes),
        plan=plan,
        terms=terms,
        consume=consume,
        asked_by=f"{user_name()} (watch)",
    )
    with feeding(store), stopping() as stop:
        watcher = Watcher(opened, source, FEED, options, make_logger(), stop)
        if not once:
            watcher.run()
            return 0
        try:
            return 0 if watcher.once() else 1
        except StopRequested:
            return 1


def _source(
    inbox: Path | None,
    sftp: str | None,
    folders: Sequence[str],
    **host: Any,  # noqa: ANN401 - what sftp_options adds
) -> Source:
    if (inbox is None) == (sftp is None):
        raise SettingError(
            "there is nothing to watch" if sftp is None else "there are two things to watch",
            hint="Give either --inbox DIR or --sftp URL",
        )
    if inbox is not None:
        return Inbox(inbox, folders)
    try:
        from numroute_loader.feeds.sftp import SftpSource  # noqa: PLC0415 - an extra brings it
    except ModuleNotFoundError as error:
        raise SettingError(
            f"{error.name} is not installed", hint="Run `pip install 'numroute[sftp]'`"
        ) from None
    return SftpSource(sftp_settings(str(sftp), default_path=FEED.root, **host), folders)
