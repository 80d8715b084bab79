"""The settings that several commands share: a flag, an environment variable, a default.

This module and the commands' own options are the only readers of the environment; every variable is
named ``NUMROUTE_`` and the option's name. A flag wins over the environment, that over the default.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

SECONDS_MAX = 86_400.0
FILE = click.Path(dir_okay=False, path_type=Path)


class _Folder(click.Path):
    """A folder's path; an empty one, as an unset variable gives, is refused."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click declares it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - likewise
        """Refuse the empty path."""
        if not str(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = _Folder(file_okay=False, path_type=Path)


def time(text: str) -> datetime:
    """Return a moment in ISO 8601 with its time zone as an aware datetime in UTC."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(
        f"{text!r} is not a time, or has no time zone: write it as 2026-08-23T00:00:00+03:00"
    )


class Finite(click.FloatRange):
    """A number in a range; refuses infinity, and ``nan``, which passes every comparison."""

    name = "number"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click declares it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Refuse what is not finite."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a valid number", param, ctx)
        return number


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


def seconds(
    name: str,
    default: float,
    text: str,
    *,
    prefix: str = "",
    zero: bool = False,
    longest: float = SECONDS_MAX,
) -> Command:
    """Return a setting of a duration in seconds, as a parameter ``NAME_seconds``."""
    return setting(
        name,
        text,
        f"{name[2:]}_seconds",
        prefix=prefix,
        type=Finite(min=0, min_open=not zero, max=longest),
        default=default,
        metavar="SECONDS",
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


store_option = setting("--store", "Folder of the snapshot store.", required=True, type=FOLDER)
optional_store_option = setting("--store", "Folder of the snapshot store.", type=FOLDER)

region_option = setting(
    "--region",
    "Country whose national formats are understood, e.g. RU; without it only international "
    "formats are.",
    metavar="CC",
)

as_of_option = click.option(
    "--as-of",
    type=time,
    metavar="TIME",
    help="Answer from the snapshot that was current then (ISO 8601), while the store keeps it.",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line instead of a table."
)
