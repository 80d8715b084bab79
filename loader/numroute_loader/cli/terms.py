"""The options that say on what terms new content is taken, as one argument ``terms``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from numroute_loader.gate import OVERRIDABLE
from numroute_loader.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable

reason_option = click.option("--reason", default="", help="Why; it lands in the history.")


def _file_option(
    name: str, envvar: str, text: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        name,
        envvar=envvar,
        show_envvar=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=text,
    )


_OPTIONS = (
    _file_option(
        "--brands",
        "NUMROUTE_BRANDS",
        "Table of brands whose rows win over the built-in one's.",
    ),
    _file_option(
        "--limits",
        "NUMROUTE_LIMITS",
        "TOML file of limits of the gate; those that it names win over the built-in ones.",
    ),
    _file_option(
        "--expect",
        "NUMROUTE_EXPECT",
        "File of chosen numbers: lines of NUMBER,OPERATOR CODE that must come true.",
    ),
    click.option(
        "--allow",
        "allowed",
        type=click.Choice(OVERRIDABLE),
        metavar="CHECK",
        multiple=True,
        help="Let this check of the gate fail; may be given several times, with --reason. "
        f"Checks: {', '.join(OVERRIDABLE)}.",
    ),
    reason_option,
)


def terms_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--brands``, ``--limits``, ``--expect``, ``--allow`` and ``--reason``."""

    @functools.wraps(command)
    def with_terms(
        *args: Any,  # noqa: ANN401 - click's
        brands: Path | None,
        limits: Path | None,
        expect: Path | None,
        allowed: tuple[str, ...],
        reason: str,
        **kwargs: Any,  # noqa: ANN401 - click's
    ) -> Any:  # noqa: ANN401 - the command's
        terms = Terms(brands=brands, limits=limits, expect=expect, allowed=allowed, reason=reason)
        return command(*args, terms=terms, **kwargs)

    decorated: Callable[..., Any] = with_terms
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
