"""The settings that several commands share: a flag, an environment variable, a default.

This module and the commands' own options are the only readers of the environment; every variable is
named ``NUMROUTE_`` and the option's name. A flag wins over the environment, that over the default.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

SECONDS_MAX = 86_400.0
FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Folder(click.Path):
    """A folder's path; an empty one, as an unset variable gives, is refused."""

    def convert(self, value: Any, *where: Any) -> Any:  # noqa: ANN401 - as click declares it
        if not str(value):
            self.fail("the path is empty", *where)
        return super().convert(value, *where)


FOLDER = _Folder(file_okay=False, path_type=Path)


def time(text: str) -> datetime:
    """Return a moment in ISO 8601 with its time zone as an aware datetime in UTC."""
    with contextlib.suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    raise click.BadParameter(
        f"{text!r} is not a time, or has no time zone: write it as 2026-08-23T00:00:00+03:00"
    )


class Finite(click.FloatRange):
    """A number in a range; refuses infinity, and ``nan``, which passes every comparison."""

    name = "number"

    def convert(self, value: Any, *where: Any) -> float:  # noqa: ANN401 - as click declares it
        """Refuse what is not finite."""
        number = super().convert(value, *where)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a valid number", *where)
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


def as_hours(_: click.Context, __: click.Parameter, hours: float | None) -> timedelta | None:
    """Return an option's value as a duration: a callback."""
    return None if hours is None else timedelta(hours=hours)


def gathered(argument: str, make: Command, *options: Command) -> Callable[[Command], Command]:
    """Return a decorator that adds options, whose values a command receives as one argument."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_argument(**values: Any) -> Any:  # noqa: ANN401 - click's
            own = {name: values.pop(name) for name in names}
            return command(**{argument: make(**own)}, **values)

        # Where click collects what it reverses and takes when the function becomes a command.
        params = with_argument.__dict__.setdefault("__click_params__", [])
        before = len(params)
        for option in reversed(options):
            option(with_argument)
        names = [each.name for each in params[before:]]
        return with_argument

    return decorate


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
