"""The settings that several commands share: a flag, an environment variable, a default.

This module and the commands' own options are the only readers of the environment; every variable is
named ``NUMROUTE_`` and the option's name. A flag wins over the environment, that over the default.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from numroute.errors import SettingError
from numroute.files import read_private_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from numroute.client import Client

    Command = Callable[..., Any]

FILE = click.Path(dir_okay=False, path_type=Path)
_SERVICE = f"{__name__}.service"


class Folder(click.Path):
    """A folder's path; an empty one, as an unset variable gives, is refused."""

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Refuse the empty path."""
        if not str(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


class Time(click.ParamType[datetime]):
    """A moment in ISO 8601 with its time zone, as an aware datetime in UTC."""

    name = "time"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Refuse a malformed time and one without a time zone."""
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time: write it as 2026-08-23T00:00:00+03:00", param, ctx)
        if time.tzinfo is None:
            self.fail(
                f"{value!r} has no time zone: write it as 2026-08-23T00:00:00+03:00", param, ctx
            )
        return time.astimezone(UTC)


def setting(
    name: str,
    text: str,
    *more: str,
    prefix: str = "",
    **attributes: Any,  # noqa: ANN401 - click's
) -> Command:
    """Return an option that can also be set as ``NUMROUTE_`` with the prefix and its name.

    ``more`` may give the parameter another name.
    """
    return click.option(
        name,
        *more,
        envvar=f"NUMROUTE_{prefix}{name.partition('/')[0][2:].upper().replace('-', '_')}",
        show_envvar=True,
        help=text,
        **{"show_default": attributes.get("default") is not None, **attributes},
    )


def gathered(
    command: Command, argument: str, make: Command, options: tuple[Command, ...]
) -> Command:
    """Add options to a command, and hand their values over as one argument."""

    @functools.wraps(command)
    def with_argument(**values: Any) -> Any:  # noqa: ANN401 - click's
        own = {name: values.pop(name) for name in names}
        return command(**{argument: make(**own)}, **values)

    decorated: Command = with_argument
    before = {each.name for each in getattr(decorated, "__click_params__", ())}
    for option in reversed(options):
        decorated = option(decorated)
    params = getattr(decorated, "__click_params__", ())
    names = [each.name for each in params if each.name not in before]
    return decorated


_STORE_HELP = "Folder of the snapshot store."
_STORE = Folder(file_okay=False, path_type=Path)
store_option = setting("--store", _STORE_HELP, required=True, type=_STORE)
optional_store_option = setting("--store", _STORE_HELP, type=_STORE)

target_option = setting("--target", "Ask this service instead of a store.", metavar="HOST:PORT")

region_option = setting(
    "--region",
    "Country whose national formats are understood, e.g. RU; without it only international "
    "formats are.",
    metavar="CC",
)

as_of_option = click.option(
    "--as-of",
    type=Time(),
    metavar="TIME",
    help="Answer from the snapshot that was current then (ISO 8601), while the store keeps it.",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line instead of a table."
)


def _service_option(name: str, text: str, **attributes: Any) -> Command:  # noqa: ANN401 - click's
    return setting(name, text, expose_value=False, callback=_keep, **attributes)


def _keep(context: click.Context, parameter: click.Parameter, value: Path | bool | None) -> None:
    context.meta.setdefault(_SERVICE, {})[parameter.name] = value


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


def service_options(command: Command) -> Command:
    """Add the options that :func:`connect` reads to a command."""
    for option in reversed(_SERVICE_OPTIONS):
        command = option(command)
    return command


def connect(target: str) -> Client:
    """Return a client of a service, with the command's options.

    Raises:
        SettingError: An option is not valid.
    """
    # Imported only here: a command that reads a store needs no gRPC.
    from numroute.client import Client, Security  # noqa: PLC0415

    given = click.get_current_context().meta[_SERVICE]
    client = Client(target, security=Security(**given))
    token_file = given["token_file"]
    if token_file is not None and token_file.is_file():
        try:
            read_private_file(token_file, "the token")
        except SettingError as error:
            # Not refused: orchestrators mount secrets with mode 0644 by default.
            click.echo(f"warning: {error}", err=True)
    return client


def one_of(store: Path | None, target: str | None) -> Path | str:
    """Return the store or the target, the one that was given; a flag overrides the environment."""
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
    for name in filter(by_flag, context.meta[_SERVICE]):
        flag = name.replace("_", "-")
        raise click.UsageError(f"--{flag} is for a service, which --store does not ask")
    return store
