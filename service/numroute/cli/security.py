"""The options of ``numroute serve`` that protect the service."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numroute.cli.options import Command

FILE = click.Path(dir_okay=False, path_type=Path)


def _client_ca(*, hidden: bool = False) -> Callable[[Command], Command]:
    return click.option(
        "--tls-client-ca",
        envvar="NUMROUTE_TLS_CLIENT_CA",
        show_envvar=True,
        type=FILE,
        hidden=hidden,
        help="PEM file of the authorities whose clients may connect; every client must then "
        "present a certificate.",
    )


_TLS_OPTIONS = (
    click.option(
        "--tls-cert",
        envvar="NUMROUTE_TLS_CERT",
        show_envvar=True,
        type=FILE,
        help="PEM file of the service's certificate and its chain; serve TLS, with --tls-key.",
    ),
    click.option(
        "--tls-key",
        envvar="NUMROUTE_TLS_KEY",
        show_envvar=True,
        type=FILE,
        help="PEM file of the certificate's private key, readable by its owner only.",
    ),
)
_CLIENT_OPTIONS = (
    click.option(
        "--tokens",
        envvar="NUMROUTE_TOKENS",
        show_envvar=True,
        type=FILE,
        help="TOML file of clients, their token hashes and limits; only these clients may ask.",
    ),
    click.option(
        "--token-lines",
        envvar="NUMROUTE_TOKEN_LINES",
        show_envvar=True,
        default="",
        metavar="TOML",
        help="The text of a tokens file itself, beside --tokens or instead of it.",
    ),
    click.option(
        "--state",
        envvar="NUMROUTE_STATE",
        show_envvar=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder in which the use of limits is counted; required if a client has limits.",
    ),
    click.option(
        "--insecure",
        is_flag=True,
        envvar="NUMROUTE_INSECURE",
        show_envvar=True,
        help="Allow plaintext and unknown clients beyond loopback.",
    ),
)
_REFLECTION = click.option(
    "--reflection/--no-reflection",
    default=None,
    envvar="NUMROUTE_REFLECTION",
    show_envvar=True,
    help="Let clients list the service's methods; by default only on loopback.",
)


def security_options(command: Command) -> Command:
    """Add the options to a command, which receives them as one argument ``security``."""
    return _with_options(command, (*_TLS_OPTIONS, _client_ca(), *_CLIENT_OPTIONS, _REFLECTION))


def http_security_options(command: Command) -> Command:
    """Add those that HTTP has; the command refuses the hidden one of client certificates."""
    return _with_options(command, (*_TLS_OPTIONS, _client_ca(hidden=True), *_CLIENT_OPTIONS))


def _with_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:

    @functools.wraps(command)
    def with_security(
        *,
        tls_cert: Path | None,
        tls_key: Path | None,
        tls_client_ca: Path | None,
        tokens: Path | None,
        token_lines: str,
        state: Path | None,
        insecure: bool,
        reflection: bool | None = None,
        **others: Any,  # noqa: ANN401 - the command's own options
    ) -> Any:  # noqa: ANN401 - what the command returns
        from numroute.server.settings import Security, TlsFiles  # noqa: PLC0415 - as in serve

        if (tls_cert is None) != (tls_key is None):
            given, missing = ("cert", "key") if tls_key is None else ("key", "cert")
            raise click.UsageError(f"--tls-{given} without --tls-{missing}: give both, or neither")
        if tls_cert is None and tls_client_ca is not None:
            raise click.UsageError(
                "--tls-client-ca without a certificate of the service: give --tls-cert and "
                "--tls-key as well"
            )
        tls = None
        if tls_cert is not None and tls_key is not None:
            tls = TlsFiles(certificate=tls_cert, key=tls_key, client_ca=tls_client_ca)
        security = Security(
            tls=tls,
            tokens=tokens,
            token_lines=token_lines,
            state=state,
            insecure=insecure,
            reflection=reflection,
        )
        return command(security=security, **others)

    for option in reversed(options):
        with_security = option(with_security)
    return with_security  # type: ignore[return-value] # called by click, by name
