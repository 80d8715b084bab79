"""The options that say how to reach an SFTP host."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from numroute.errors import SettingError
from numroute_loader.feeds.sftp_settings import (
    TIMEOUT_SECONDS,
    SftpSettings,
    parse_address,
)

PASSWORD_VARIABLE = "NUMROUTE_SFTP_PASSWORD"  # noqa: S105 - a name, not a password
PASSPHRASE_VARIABLE = "NUMROUTE_SFTP_PASSPHRASE"  # noqa: S105 - likewise

SECRET_VARIABLES = (PASSWORD_VARIABLE, PASSPHRASE_VARIABLE)
"""Read from the environment only: a command line is there for all to see."""

TIMEOUT_SECONDS_MAX = 3600.0

Command = TypeVar("Command", bound=Callable[..., Any])


def sftp_options(command: Command) -> Command:
    """Add ``--sftp`` and all that goes with it."""
    for decorator in reversed(
        (
            click.option(
                "--sftp",
                envvar="NUMROUTE_SFTP",
                show_envvar=True,
                metavar="URL",
                help="SFTP host on which the registry puts its files: sftp://USER@HOST:PORT/PATH; "
                "without a path, the registry's own.",
            ),
            click.option(
                "--known-hosts",
                envvar="NUMROUTE_SFTP_KNOWN_HOSTS",
                show_envvar=True,
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="File of the SFTP host's key, in the form of OpenSSH's known_hosts.",
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
                help="File of the SFTP password, readable by its owner only. Or set "
                f"{PASSWORD_VARIABLE}.",
            ),
            click.option(
                "--key-file",
                envvar="NUMROUTE_SFTP_KEY_FILE",
                show_envvar=True,
                type=click.Path(dir_okay=False, path_type=Path),
                help="File of the private SSH key, readable by its owner only; its passphrase is "
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
                help="How long the SFTP host may take for each answer.",
            ),
        )
    ):
        command = decorator(command)
    return command


def sftp_settings(
    url: str,
    *,
    known_hosts: Path | None,
    fingerprints: tuple[str, ...],
    password_file: Path | None,
    key_file: Path | None,
    timeout_seconds: float,
    default_path: str,
) -> SftpSettings:
    """Return the settings of a connection, with the secrets of the environment.

    Raises SettingError for what can never work.
    """
    address = parse_address(url)
    if not address.path:
        address = parse_address(f"{url.rstrip('/')}{default_path}")
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
