"""``numroute-load watch``."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from numroute.cli.options import Folder, store_option
from numroute.errors import SettingError
from numroute.index import Retention, SnapshotStore
from numroute.logs import make_logger
from numroute_loader.cli.options import approval_options, retention_options
from numroute_loader.cli.terminal import user_name
from numroute_loader.feeds.loop import StopRequested, feeding, stopping
from numroute_loader.feeds.publishing import (
    INTERVAL_SECONDS,
    PATIENCE,
    SETTLE_SECONDS,
    WatchOptions,
)
from numroute_loader.feeds.sftp_settings import TIMEOUT_SECONDS, SftpSettings, parse_address
from numroute_loader.feeds.sources import Inbox
from numroute_loader.feeds.watcher import Watcher
from numroute_loader.registries.ru_bdpn import FEED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numroute_loader.approval import Approval
    from numroute_loader.feeds.sources import Source

SECONDS_MAX = 86_400.0
TIMEOUT_SECONDS_MAX = 3600.0

PASSWORD_VARIABLE = "NUMROUTE_SFTP_PASSWORD"  # noqa: S105 - a name, not a password
PASSPHRASE_VARIABLE = "NUMROUTE_SFTP_PASSPHRASE"  # noqa: S105 - likewise

SECRET_VARIABLES = (PASSWORD_VARIABLE, PASSPHRASE_VARIABLE)
"""Read from the environment only: everybody can see a command line."""


def _sftp_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--sftp`` and the options of its connection."""
    for decorator in reversed(
        (
            click.option(
                "--sftp",
                envvar="NUMROUTE_SFTP",
                show_envvar=True,
                metavar="URL",
                help="SFTP host where the registry puts its files: sftp://USER@HOST:PORT/PATH; "
                "without a path, the registry's own.",
            ),
            click.option(
                "--known-hosts",
                envvar="NUMROUTE_SFTP_KNOWN_HOSTS",
                show_envvar=True,
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="File with the SFTP host's key, in the format of OpenSSH's known_hosts.",
            ),
            click.option(
                "--host-key",
                "fingerprints",
                envvar="NUMROUTE_SFTP_HOST_KEY",
                show_envvar=True,
                multiple=True,
                metavar="SHA256:...",
                help="Fingerprint of the SFTP host's key; may be given several times.",
            ),
            click.option(
                "--password-file",
                envvar="NUMROUTE_SFTP_PASSWORD_FILE",
                show_envvar=True,
                type=click.Path(dir_okay=False, path_type=Path),
                help="File with the SFTP password, readable by its owner only. Or set "
                f"{PASSWORD_VARIABLE}.",
            ),
            click.option(
                "--key-file",
                envvar="NUMROUTE_SFTP_KEY_FILE",
                show_envvar=True,
                type=click.Path(dir_okay=False, path_type=Path),
                help="File with the private SSH key, readable by its owner only; its passphrase is "
                f"taken from {PASSPHRASE_VARIABLE}.",
            ),
            click.option(
                "--timeout",
                "timeout_seconds",
                envvar="NUMROUTE_SFTP_TIMEOUT",
                show_envvar=True,
                type=click.FloatRange(min=0, min_open=True, max=TIMEOUT_SECONDS_MAX),
                default=TIMEOUT_SECONDS,
                show_default=True,
                metavar="SECONDS",
                help="How long the SFTP host may take to answer.",
            ),
        )
    ):
        command = decorator(command)
    return command


@click.command()
@store_option
@retention_options
@click.option(
    "--inbox",
    envvar="NUMROUTE_INBOX",
    show_envvar=True,
    type=Folder(file_okay=False, path_type=Path),
    help="Folder where the registry's files arrive.",
)
@_sftp_options
@click.option(
    "--folder",
    "folders",
    multiple=True,
    metavar="PATH",
    help="Look in this folder below the inbox or the URL's path; may be repeated. By default in "
    "all of the registry's folders that exist.",
)
@click.option("--once", is_flag=True, help="Do what there is to do and exit: for cron and timers.")
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
    help="Take a file once its size and time have not changed for this long.",
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
    help="Open numbering plan, a file or a folder, read with every full dump; may be repeated.",
)
@approval_options
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
    approval: Approval,
    consume: bool,
    spool: Path | None,
    retention: Retention,
    **host: Any,  # noqa: ANN401 - the options of _sftp_options
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
        approval=approval,
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
    **host: Any,  # noqa: ANN401 - the options of _sftp_options
) -> Source:
    if (inbox is None) == (sftp is None):
        raise SettingError(
            "there is nothing to watch" if sftp is None else "there are two sources to watch",
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
    return SftpSource(_sftp_settings(str(sftp), **host), folders)


def _sftp_settings(
    url: str,
    *,
    known_hosts: Path | None,
    fingerprints: tuple[str, ...],
    password_file: Path | None,
    key_file: Path | None,
    timeout_seconds: float,
) -> SftpSettings:
    """Return the settings of a connection, with the secrets from the environment."""
    address = parse_address(url)
    if not address.path:
        address = parse_address(f"{url.rstrip('/')}{FEED.root}")
    if password_file is not None and os.environ.get(PASSWORD_VARIABLE):
        raise SettingError(
            f"--password-file and {PASSWORD_VARIABLE} both name a password", hint="Give one of them"
        )
    return SftpSettings(
        address=address,
        known_hosts=known_hosts,
        fingerprints=fingerprints,
        password=os.environ.get(PASSWORD_VARIABLE) or None,
        password_file=password_file,
        key_file=key_file,
        passphrase=os.environ.get(PASSPHRASE_VARIABLE) or None,
        timeout_seconds=timeout_seconds,
    )
