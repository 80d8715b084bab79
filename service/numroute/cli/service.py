"""The options of commands that may ask a service instead of a store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from numroute.cli.options import FILE, gathered, optional_store_option, setting
from numroute.client import Client, Security
from numroute.errors import SettingError
from numroute.files import read_setting_file

Connect = Callable[[], Client]
"""Connects to the service that the options name; a wrong token or certificate is refused here."""


def _connect(target: str, token_file: Path | None, **security: Any) -> Client:  # noqa: ANN401 - as Security takes them
    """Return a client of a service; raise SettingError when an option is not valid."""
    client = Client(target, security=Security(token_file=token_file, **security))
    if token_file is not None and token_file.is_file():
        try:
            read_setting_file(token_file, "the token", private=True)
        except SettingError as error:
            # Not refused: orchestrators mount secrets with mode 0644 by default.
            click.echo(f"warning: {error}", err=True)
    return client


def _one_of(*, store: Path | None, target: str | None, **security: Any) -> Path | Connect:  # noqa: ANN401 - likewise
    """Return the store, or what connects to the service; a flag wins over the environment."""
    context = click.get_current_context()

    def by_flag(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    if store is not None and target is not None and by_flag("store") == by_flag("target"):
        raise click.UsageError(
            "both a store and a service are given: give --store or --target, not both"
        )
    if target is not None and (store is None or by_flag("target")):
        return functools.partial(_connect, target, **security)
    if store is None:
        raise click.UsageError("there is nothing to ask: give --store DIR or --target HOST:PORT")
    for name in filter(by_flag, security):
        flag = name.replace("_", "-")
        raise click.UsageError(f"--{flag} is for a service, which --store does not ask")
    return store


source_options = gathered(
    "source",
    _one_of,
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
"""What to ask, as one argument ``source``: a store's path, or what connects to a service."""
