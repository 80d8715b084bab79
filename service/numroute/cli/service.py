"""The TLS and token options of commands that ask a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from numroute.errors import SettingError
from numroute.files import read_private_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from numroute.client import Client

Command = TypeVar("Command", bound="Callable[..., Any]")

_KEPT = f"{__name__}.security"
_FILE = click.Path(dir_okay=False, path_type=Path)
_OPTIONS = (
    (
        "--ca",
        "NUMROUTE_CA",
        "PEM file of the authority that issued the service's certificate; use TLS.",
    ),
    ("--cert", "NUMROUTE_CERT", "PEM file of this client's certificate, for mutual TLS."),
    ("--key", "NUMROUTE_KEY", "PEM file of its private key."),
    (
        "--token-file",
        "NUMROUTE_TOKEN_FILE",
        "File of this client's token.",
    ),
)


SERVICE_OPTIONS = ("ca", "cert", "key", "token_file", "tls")
"""The names of the parameters."""


def service_options(command: Command) -> Command:
    """Add the options that :func:`connect` reads to a command."""
    for flag, variable, text in reversed(_OPTIONS):
        option = click.option(
            flag,
            envvar=variable,
            show_envvar=True,
            type=_FILE,
            metavar="FILE",
            help=text,
            expose_value=False,
            callback=_keep,
        )
        command = option(command)
    return click.option(
        "--tls",
        envvar="NUMROUTE_TLS",
        show_envvar=True,
        is_flag=True,
        help="Use TLS; without --ca trust the system's authorities.",
        expose_value=False,
        callback=_keep,
    )(command)


def connect(target: str) -> Client:
    """Return a client of a service, with the command's options.

    Raises:
        SettingError: An option is not valid.
    """
    # Imported only here: a command that reads a store needs no gRPC.
    from numroute.client import Client, Security  # noqa: PLC0415

    given = click.get_current_context().meta[_KEPT]
    client = Client(target, security=Security(**given))
    _warn_of_readers(given["token_file"])
    return client


def _warn_of_readers(token_file: Path | None) -> None:
    """Warn of a token that others can read.

    It is not refused: orchestrators mount secrets with mode 0644 by default.
    """
    if token_file is None or not token_file.is_file():
        return
    try:
        read_private_file(token_file, "the token")
    except SettingError as error:
        click.echo(f"warning: {error}", err=True)


def _keep(context: click.Context, parameter: click.Parameter, value: Path | bool | None) -> None:
    context.meta.setdefault(_KEPT, {})[parameter.name] = value
