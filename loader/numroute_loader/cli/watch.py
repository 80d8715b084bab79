"""``numroute-load watch``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from numroute.cli.group import Daemon
from numroute.cli.options import FOLDER, seconds, setting, store_option
from numroute.entry import how_to_install
from numroute.errors import SettingError
from numroute.index import Retention, SnapshotStore
from numroute.logs import make_logger
from numroute_loader import replicas
from numroute_loader.cli.options import approval_options, retention_options, user_name
from numroute_loader.cli.replicas import check_url
from numroute_loader.feeds.loop import feeding, stopping
from numroute_loader.feeds.sources import TIMEOUT_SECONDS, Inbox, Source, parse_address
from numroute_loader.feeds.watcher import INTERVAL_SECONDS, SETTLE_SECONDS, Watcher, WatchOptions
from numroute_loader.gate.limits import Approval
from numroute_loader.registries import FEEDS
from numroute_loader.replicas import Remote

TIMEOUT_SECONDS_MAX = 3600.0

# Read from the environment only: everybody can see a command line.
PASSWORD_VARIABLE = "NUMROUTE_SFTP_PASSWORD"  # noqa: S105 - a name, not a password
PASSPHRASE_VARIABLE = "NUMROUTE_SFTP_PASSPHRASE"  # noqa: S105 - likewise

_LAYOUT = next(iter(FEEDS.values()))
"""How the registry delivers its files: there is one so far."""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=Daemon)
@store_option
@retention_options
@setting("--inbox", "Folder where the registry's files arrive.", type=FOLDER)
@setting(
    "--sftp",
    "SFTP host where the registry puts its files: sftp://USER@HOST:PORT/PATH; without a path, the "
    "registry's own.",
    metavar="URL",
)
@setting(
    "--known-hosts",
    "File with the SFTP host's key, in the format of OpenSSH's known_hosts.",
    prefix="SFTP_",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@setting(
    "--password-file",
    f"File with the SFTP password, readable by its owner only. Or set {PASSWORD_VARIABLE}.",
    prefix="SFTP_",
    type=_FILE,
)
@setting(
    "--key-file",
    "File with the private SSH key, readable by its owner only; its passphrase is taken from "
    f"{PASSPHRASE_VARIABLE}.",
    prefix="SFTP_",
    type=_FILE,
)
@seconds(
    "--timeout",
    TIMEOUT_SECONDS,
    "How long the SFTP host may take to answer.",
    prefix="SFTP_",
    longest=TIMEOUT_SECONDS_MAX,
)
@click.option(
    "--folder",
    "folders",
    multiple=True,
    metavar="PATH",
    help="Look in this folder below the inbox or the URL's path; may be repeated. By default in "
    "all of the registry's folders that exist.",
)
@click.option("--once", is_flag=True, help="Do what there is to do and exit: for cron and timers.")
@seconds("--interval", INTERVAL_SECONDS, "How often to look for new files.")
@seconds(
    "--settle",
    SETTLE_SECONDS,
    "Take a file once its size and time have not changed for this long.",
    zero=True,
)
@click.option(
    "--plan",
    "plan",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Open numbering plan, a file or a folder, read with every full dump; may be repeated.",
)
@approval_options
@setting(
    "--push",
    "Send each new snapshot to this path or fsspec URL, from which replicas pull.",
    callback=check_url,
    metavar="URL",
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
    plan: tuple[Path, ...],
    approval: Approval,
    push: str | None,
    retention: Retention,
    **connection: Any,  # noqa: ANN401 - those of SftpSource
) -> int:
    """Keep a store up to date from a folder or an SFTP host where the registry's files arrive.

    Waits until uploads are complete, leaves damaged files out, builds each full dump with the
    operator table and the plan of its day, and keeps the last good snapshot current when something
    is missing or wrong. `numroute info` shows its state. SIGTERM or Ctrl-C stops at once; the next
    start continues where this one stopped.
    """
    source = _source(inbox, sftp, folders or _LAYOUT.folders, connection)
    opened = SnapshotStore(store, create=True, retention=retention)
    options = WatchOptions(
        interval_seconds=interval_seconds,
        settle_seconds=settle_seconds,
        plan=plan,
        approval=approval,
        asked_by=f"{user_name()} (watch)",
        push=None if push is None else _pusher(opened, Remote(push)),
    )
    with feeding(store), stopping():
        watcher = Watcher(opened, source, _LAYOUT, options, make_logger())
        if once:
            return 0 if watcher.once() else 1
        watcher.run()
        return 0


def _pusher(store: SnapshotStore, remote: Remote) -> Callable[[], str]:
    return lambda: replicas.push(store, remote).pointer.snapshot


def _source(
    inbox: Path | None, sftp: str | None, folders: Sequence[str], connection: dict[str, Any]
) -> Source:
    """Return the inbox or the SFTP host, with its secrets from the environment."""
    if inbox is not None and sftp is None:
        return Inbox(inbox, folders)
    if inbox is not None or sftp is None:
        raise click.UsageError("give either --inbox DIR or --sftp URL to watch")
    try:
        from numroute_loader.feeds.sftp import SftpSource  # noqa: PLC0415 - an extra brings it
    except ModuleNotFoundError as error:
        command = how_to_install("sftp")
        raise SettingError(f"{error.name} is not installed", hint=f"Run {command}") from None
    return SftpSource(
        address=parse_address(sftp, _LAYOUT.root),
        folders=folders,
        password=os.environ.get(PASSWORD_VARIABLE) or None,
        passphrase=os.environ.get(PASSPHRASE_VARIABLE) or None,
        **connection,
    )
