"""``numroute-load push`` and ``numroute-load pull``."""

from __future__ import annotations

from pathlib import Path

import click

from numroute.cli.console import Bars, show
from numroute.cli.group import Daemon
from numroute.cli.options import json_option, seconds, store_option
from numroute.index import Retention, SnapshotStore
from numroute.logs import make_logger
from numroute_loader import replicas
from numroute_loader.cli.options import retention_options, user_name
from numroute_loader.feeds.loop import feeding, stopping
from numroute_loader.replicas import INTERVAL_SECONDS, Follower, Remote, Transfer

_URL = "URL is a path, or a URL of any driver of fsspec: s3://, gs://, sftp:// and others."


def check_url(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    """Refuse an empty URL, which an unset variable gives: it would be the current folder."""
    if url is not None and not url.strip():
        raise click.BadParameter("the URL is empty")
    return url


@click.command(
    help="Copy the store's current snapshot to where replicas pull it from.\n\n"
    f"{_URL} An upload that broke off continues where it stopped. Run it after each build, or from "
    "a timer: a snapshot that is there already is not sent again."
)
@click.argument("url", metavar="URL", callback=check_url)
@store_option
@click.option("--verify", is_flag=True, help="Read the snapshot at the URL back and compare it.")
@json_option
def push(*, url: str, store: Path, verify: bool, as_json: bool) -> None:
    """Push the current snapshot."""
    with Bars() as bars:
        pushed = replicas.push(
            SnapshotStore(store),
            Remote(url),
            verify=verify,
            progress=lambda done, total: bars.update("sending", done, total),
        )
    _print("pushed", "sent", pushed, {"sha256": pushed.pointer.sha256}, as_json=as_json)


@click.command(
    cls=Daemon,
    help="Make the snapshot that is current at the URL current in the store.\n\n"
    f"{_URL} It is published once all its bytes are verified. A download that broke off continues "
    "where it stopped. With --follow, pull until SIGTERM or Ctrl-C.",
)
@click.argument("url", metavar="URL", callback=check_url)
@store_option
@retention_options
@click.option("--follow", is_flag=True, help="Keep pulling, as a replica does.")
@seconds("--interval", INTERVAL_SECONDS, "How often to look, with --follow.", prefix="PULL_")
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
    """Pull once, or follow."""
    opened = SnapshotStore(store, create=True, retention=retention)
    asked_by = f"{user_name()} (pull)"
    with feeding(store), stopping():
        remote = Remote(url)
        if follow:
            Follower(opened, remote, make_logger(), interval_seconds, asked_by).run()
            return
        with Bars() as bars:
            pulled = replicas.pull(
                opened,
                remote,
                asked_by=asked_by,
                progress=lambda done, total: bars.update("fetching", done, total),
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
    facts = [
        (word, pointer.snapshot),
        (moved, f"{moved_bytes:,} of {pointer.file_bytes:,} bytes"),
    ]
    show(document, facts, as_json=as_json)
