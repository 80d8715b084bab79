"""``numroute web``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import TYPE_CHECKING

import click

from numroute.cli.options import store_option
from numroute.cli.security import security_options
from numroute.cli.serve import HOURS_MAX, Finite
from numroute.errors import SettingError

if TYPE_CHECKING:
    from numroute.server.settings import Security


@click.command()
@store_option
@click.option(
    "--listen",
    envvar="NUMROUTE_WEB_LISTEN",
    show_envvar=True,
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Address to listen on; with port 0 the system chooses a free port.",
)
@click.option(
    "--max-age",
    "max_age_hours",
    envvar="NUMROUTE_MAX_AGE",
    show_envvar=True,
    type=Finite(min=0, min_open=True, max=HOURS_MAX),
    metavar="HOURS",
    help="When the data is older than this, mark answers as stale.",
)
@security_options
def web(store: Path, listen: str, max_age_hours: float | None, security: Security) -> None:
    """Answer lookups over HTTP, and serve a page for people with a list.

    Clients are known by the tokens of --tokens, as in `numroute serve`. SIGTERM or Ctrl-C stops.
    """
    from numroute_web.app import run  # noqa: PLC0415 - slow to import
    from numroute_web.settings import WebSettings  # noqa: PLC0415

    if security.has_client_ca:
        raise SettingError(
            "--tls-client-ca is for numroute serve", hint="Give --tokens: over HTTP tokens decide"
        )
    run(
        WebSettings(
            store=store,
            listen=listen,
            max_age=None if max_age_hours is None else timedelta(hours=max_age_hours),
            security=security,
        )
    )
