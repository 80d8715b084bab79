"""The options of commands that may ask a service instead of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from numroute.cli.options import FILE, Command, gathered, optional_store_option, setting
from numroute.client import Client, Security
from numroute.errors import SettingError
from numroute.files import read_private_file


class Service(NamedTuple):
    """A service to ask, and the fields of the client's ``Security``."""

    target: str
    security: dict[str, Any]


def source_options(command: Command) -> Command:
    """Add the options of a store or a service, which the command receives as ``source``."""
    options = (
        optional_store_option,
        setting("--target", "Ask this service instead of a store.", metavar="HOST:PORT"),
        setting("--tls", "Use TLS; without --ca trust the system's authorities.", is_flag=True),
        setting(
            "--ca",
            "PEM file of the authority that issued the service's certificate; use TLS.",
            type=FILE,
        ),
        setting("--cert", "PEM file of this client's certificate, for mutual TLS.", type=FILE),
        setting("--key", "PEM file of its private key.", type=FILE),
        setting("--token-file", "File of this client's token.", type=FILE),
    )
    return gathered(command, "source", _one_of, options)


def connect(service: Service) -> Client:
    """Return a client of a service; raise SettingError when an option is not valid."""
    client = Client(service.target, security=Security(**service.security))
    token_file = service.security["token_file"]
    if token_file is not None and token_file.is_file():
        try:
            read_private_file(token_file, "the token")
        except SettingError as error:
            # Not refused: orchestrators mount secrets with mode 0644 by default.
            click.echo(f"warning: {error}", err=True)
    return client


def _one_of(*, store: Path | None, target: str | None, **security: Any) -> Path | Service:  # noqa: ANN401 - as Security takes them
    """Return the store or the service; a flag wins over the environment."""
    context = click.get_current_context()

    def by_flag(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    if store is not None and target is not None and by_flag("store") == by_flag("target"):
        raise click.UsageError(
            "both a store and a service are given: give --store or --target, not both"
        )
    if target is not None and (store is None or by_flag("target")):
        return Service(target, security)
    if store is None:
        raise click.UsageError("there is nothing to ask: give --store DIR or --target HOST:PORT")
    for name in filter(by_flag, security):
        flag = name.replace("_", "-")
        raise click.UsageError(f"--{flag} is for a service, which --store does not ask")
    return store
