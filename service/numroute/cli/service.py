"""The options of commands that may ask a service instead of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from numroute.cli.options import FILE, Command, gathered, optional_store_option, setting
from numroute.errors import SettingError
from numroute.files import read_private_file

if TYPE_CHECKING:
    from numroute.client import Client  # loads grpc, which a local lookup does not need

_GIVEN = f"{__name__}.given"


def _service_option(name: str, text: str, **attributes: Any) -> Command:  # noqa: ANN401 - click's
    return setting(name, text, expose_value=False, callback=_keep, **attributes)


def _keep(context: click.Context, parameter: click.Parameter, value: Path | bool | None) -> None:
    context.meta.setdefault(_GIVEN, {})[parameter.name] = value


_SOURCE_OPTIONS = (
    optional_store_option,
    setting("--target", "Ask this service instead of a store.", metavar="HOST:PORT"),
)
_SERVICE_OPTIONS = (
    _service_option("--tls", "Use TLS; without --ca trust the system's authorities.", is_flag=True),
    _service_option(
        "--ca",
        "PEM file of the authority that issued the service's certificate; use TLS.",
        type=FILE,
        metavar="FILE",
    ),
    _service_option(
        "--cert",
        "PEM file of this client's certificate, for mutual TLS.",
        type=FILE,
        metavar="FILE",
    ),
    _service_option("--key", "PEM file of its private key.", type=FILE, metavar="FILE"),
    _service_option("--token-file", "File of this client's token.", type=FILE, metavar="FILE"),
)


def source_options(command: Command) -> Command:
    """Add the options of a store or a service, which the command receives as ``source``.

    It is the store's path or, as text, the service's address, which :func:`connect` takes.
    """
    for option in reversed(_SERVICE_OPTIONS):
        command = option(command)
    return gathered(command, "source", _one_of, _SOURCE_OPTIONS)


def connect(target: str) -> Client:
    """Return a client of a service, with the command's options.

    Raises:
        SettingError: An option is not valid.
    """
    # Imported only here: a command that reads a store needs no gRPC.
    from numroute.client import Client, Security  # noqa: PLC0415

    given = click.get_current_context().meta[_GIVEN]
    client = Client(target, security=Security(**given))
    token_file = given["token_file"]
    if token_file is not None and token_file.is_file():
        try:
            read_private_file(token_file, "the token")
        except SettingError as error:
            # Not refused: orchestrators mount secrets with mode 0644 by default.
            click.echo(f"warning: {error}", err=True)
    return client


def _one_of(*, store: Path | None, target: str | None) -> Path | str:
    """Return the store or the target; a flag wins over the environment."""
    context = click.get_current_context()

    def by_flag(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    if store is not None and target is not None and by_flag("store") == by_flag("target"):
        raise click.UsageError(
            "both a store and a service are given: give --store or --target, not both"
        )
    if target is not None and (store is None or by_flag("target")):
        return target
    if store is None:
        raise click.UsageError("there is nothing to ask: give --store DIR or --target HOST:PORT")
    for name in filter(by_flag, context.meta[_GIVEN]):
        flag = name.replace("_", "-")
        raise click.UsageError(f"--{flag} is for a service, which --store does not ask")
    return store
