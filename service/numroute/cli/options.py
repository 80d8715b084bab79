"""The settings that several commands share: a flag, an environment variable, a default.

This module and the commands' own options are the only readers of the environment; every variable is
named ``NUMROUTE_`` and the option's name. A flag wins over the environment, that over the default.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


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


def _store_option(*, required: bool) -> Callable[[Command], Command]:
    return click.option(
        "--store",
        envvar="NUMROUTE_STORE",
        show_envvar=True,
        required=required,
        type=Folder(file_okay=False, path_type=Path),
        help="Folder of the snapshot store.",
    )


store_option = _store_option(required=True)
optional_store_option = _store_option(required=False)

target_option = click.option(
    "--target",
    envvar="NUMROUTE_TARGET",
    show_envvar=True,
    metavar="HOST:PORT",
    help="Ask this service instead of a store.",
)

region_option = click.option(
    "--region",
    envvar="NUMROUTE_REGION",
    show_envvar=True,
    metavar="CC",
    help="Country whose national formats are understood, e.g. RU; without it only international "
    "formats are.",
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
