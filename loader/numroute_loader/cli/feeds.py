"""What brings files and snapshots: ``numroute-load watch``, ``push`` and ``pull``."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import click

from numroute.cli.console import Bars, show
from numroute.cli.group import Daemon
from numroute.cli.options import (
    EXISTING_FILE,
    FILE,
    FOLDER,
    gathered,
    json_option,
    seconds,
    setting,
    store_option,
)
from numroute.entry import how_to_install
from numroute.errors import SettingError
from numroute.index import Retention, SnapshotStore
from numroute.logs import make_logger
from numroute_loader import replicas
from numroute_loader.cli.options import approval_options, retention_options, user_name
from numroute_loader.feeds.loop import feeding
from numroute_loader.feeds.sources import (
    INTERVAL_SECONDS,
    SETTLE_SECONDS,
    TIMEOUT_SECONDS,
    Inbox,
    Source,
)
from numroute_loader.reading.description import FeedLayout
from numroute_loader.replicas import Follower, Remote, Transfer

TIMEOUT_SECONDS_MAX = 3600.0

# Read from the environment only: everybody can see a command line.
PASSWORD_VARIABLE = "NUMROUTE_SFTP_PASSWORD"  # noqa: S105 - a name, not a password
PASSPHRASE_VARIABLE = "NUMROUTE_SFTP_PASSPHRASE"  # noqa: S105 - likewise


def _check_url(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    """Refuse an empty URL, which an unset variable gives: it would be the current folder."""
    if url is not None and not url.strip():
        raise click.BadParameter("the URL is empty")
    return url


def _layout() -> FeedLayout:
    """Return how the registry delivers its files: there is one so far."""
    from numroute_loader.registries import FEEDS  # noqa: PLC0415 - slow, and replicas need none

    return next(iter(FEEDS.values()))


def _source(
    *,
    inbox: Path | None,
    sftp: str | None,
    folders: tuple[str, ...],
    **connection: Any,  # noqa: ANN401 - those of SftpSource
) -> Source:
    """Return the inbox or the SFTP host, with its secrets from the environment."""
    if inbox is not None and sftp is None:
        return Inbox(inbox, folders or _layout().folders)
    if inbox is not None or sftp is None:
        raise click.UsageError("give either --inbox DIR or --sftp URL to watch")
    try:
        from numroute_loader.feeds.sftp import SftpSource  # noqa: PLC0415 - an extra brings it
    except ModuleNotFoundError as error:
        command = how_to_install("sftp")
        raise SettingError(f"{error.name} is not installed", hint=f"Run {command}") from None
    return SftpSource(
        url=sftp,
        root=_layout().root,
        folders=folders or _layout().folders,
        password=os.environ.get(PASSWORD_VARIABLE) or None,
        passphrase=os.environ.get(PASSPHRASE_VARIABLE) or None,
        **connection,
    )


@click.command(cls=Daemon)
@store_option
@retention_options
@gathered(
    "source",
    _source,
    setting("--inbox", "Folder where the registry's files arrive.", type=FOLDER),
    setting(
        "--sftp",
        "SFTP host where the registry puts its files: sftp://USER@HOST:PORT/PATH; without a path, "
        "the registry's own.",
        metavar="URL",
    ),
    setting(
        "--known-hosts",
        "File with the SFTP host's key, in the format of OpenSSH's known_hosts.",
        prefix="SFTP_",
        type=EXISTING_FILE,
    ),
    setting(
        "--password-file",
        f"File with the SFTP password, readable by its owner only. Or set {PASSWORD_VARIABLE}.",
        prefix="SFTP_",
        type=FILE,
    ),
    setting(
        "--key-file",
        "File with the private SSH key, readable by its owner only; its passphrase is taken from "
        f"{PASSPHRASE_VARIABLE}.",
        prefix="SFTP_",
        type=FILE,
    ),
    seconds(
        "--timeout",
        TIMEOUT_SECONDS,
        "How long the SFTP host may take to answer.",
        prefix="SFTP_",
        longest=TIMEOUT_SECONDS_MAX,
    ),
    click.option(
        "--folder",
        "folders",
        multiple=True,
        metavar="PATH",
        help="Look in this folder below the inbox or the URL's path; may be repeated. By default "
        "in all of the registry's folders that exist.",
    ),
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
    callback=_check_url,
    metavar="URL",
)
def watch(
    *,
    store: Path,
    retention: Retention,
    source: Source,
    once: bool,
    push: str | None,
    **options: Any,  # noqa: ANN401 - those that Watcher takes by the same name
) -> int:
    """Keep a store up to date from a folder or an SFTP host where the registry's files arrive.

    Waits until uploads are complete, leaves damaged files out, builds each full dump with the
    operator table and the plan of its day, and keeps the last good snapshot current when something
    is missing or wrong. `numroute info` shows its state. SIGTERM or Ctrl-C stops at once; the next
    start continues where this one stopped.
    """
    from numroute_loader.feeds.watcher import Watcher  # noqa: PLC0415 - likewise

    opened = SnapshotStore(store, create=True, retention=retention)
    remote = None if push is None else Remote(push)
    with feeding(store):
        feed = Watcher(
            opened,
            make_logger(),
            source=source,
            layout=_layout(),
            asked_by=f"{user_name()} (watch)",
            push=None if remote is None else lambda: replicas.push(opened, remote).pointer.snapshot,
            **options,
        )
        if once:
            return 0 if feed.once() else 1
        feed.run()
        return 0


@click.command()
@click.argument("url", metavar="URL", callback=_check_url)
@store_option
@click.option("--verify", is_flag=True, help="Read the snapshot at the URL back and compare it.")
@json_option
def push(*, url: str, store: Path, verify: bool, as_json: bool) -> None:
    """Copy the store's current snapshot to where replicas pull it from.

    URL is a path, or a URL of any driver of fsspec: s3://, gs://, sftp:// and others. An upload
    that broke off continues where it stopped. Run it after each build, or from a timer: a snapshot
    that is there already is not sent again.
    """
    with Bars() as bars:
        pushed = replicas.push(
            SnapshotStore(store),
            Remote(url),
            verify=verify,
            progress=partial(bars.report, "sending"),
        )
    _print("pushed", "sent", pushed, {"sha256": pushed.pointer.sha256}, as_json=as_json)


@click.command(cls=Daemon)
@click.argument("url", metavar="URL", callback=_check_url)
@store_option
@retention_options
@click.option("--follow", is_flag=True, help="Keep pulling, as a replica does.")
@seconds(
    "--interval", replicas.INTERVAL_SECONDS, "How often to look, with --follow.", prefix="PULL_"
)
@json_option
def pull(
    *,
    url: str,
    store: Path,
    retention: Retention,
    follow: bool,
    interval_seconds: float,
    as_json: bool,
) -> None:
    """Make the snapshot that is current at the URL current in the store.

    URL is a path, or a URL of any driver of fsspec: s3://, gs://, sftp:// and others. The snapshot
    is published once all its bytes are verified. A download that broke off continues where it
    stopped. With --follow, pull until SIGTERM or Ctrl-C.
    """
    opened = SnapshotStore(store, create=True, retention=retention)
    asked_by = f"{user_name()} (pull)"
    with feeding(store):
        remote = Remote(url)
        if follow:
            Follower(opened, make_logger(), interval_seconds, remote, asked_by).run()
            return
        with Bars() as bars:
            pulled = replicas.pull(
                opened, remote, asked_by=asked_by, progress=partial(bars.report, "fetching")
            )
    word = "current" if pulled.changed else "current already"
    _print(word, "fetched", pulled, {"changed": pulled.changed}, as_json=as_json)


def _print(
    word: str, moved: str, transfer: Transfer, more: dict[str, object], *, as_json: bool
) -> None:
    pointer, moved_bytes = transfer.pointer, transfer.moved_bytes
    document = {
        "snapshot": {"id": pointer.snapshot, "as_of": pointer.as_of},
        "file_bytes": pointer.file_bytes,
        f"{moved}_bytes": moved_bytes,
        **more,
    }
    moved_text = f"{moved_bytes:,} of {pointer.file_bytes:,} bytes"
    show(document, [(word, pointer.snapshot), (moved, moved_text)], as_json=as_json)
