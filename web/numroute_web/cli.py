"""``numroute web``."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from numroute.cli.group import Daemon
from numroute.cli.options import json_option, store_option
from numroute.cli.serve import (
    HOURS_MAX,
    Finite,
    check_option,
    http_security_options,
    max_age_option,
    print_check,
)
from numroute.server.limits import WORKERS_MAX

if TYPE_CHECKING:
    from numroute.server.settings import Security

LIST_MEGABYTES_MAX: Final = 1 << 20


@click.command(cls=Daemon)
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
@max_age_option("mark answers as stale")
@click.option(
    "--jobs",
    envvar="NUMROUTE_WEB_JOBS",
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("numroute-jobs"),
    show_default=True,
    help="Folder of the lists that clients send and of their results; made if it is missing.",
)
@click.option(
    "--choices",
    envvar="NUMROUTE_WEB_CHOICES",
    show_envvar=True,
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder of what lists may use: policies/*.toml, prices/*.toml, do-not-send/*.",
)
@click.option(
    "--list-workers",
    envvar="NUMROUTE_WEB_LIST_WORKERS",
    show_envvar=True,
    type=click.IntRange(1, WORKERS_MAX),
    default=lambda: max(1, len(os.sched_getaffinity(0)) // 2),
    show_default="one for two cores",
    metavar="COUNT",
    help="How many lists are routed at once.",
)
@click.option(
    "--list-size",
    "list_megabytes",
    envvar="NUMROUTE_WEB_LIST_SIZE",
    show_envvar=True,
    type=click.IntRange(1, LIST_MEGABYTES_MAX),
    default=1024,
    show_default=True,
    metavar="MIB",
    help="The largest list that is taken.",
)
@click.option(
    "--retention",
    "retention_hours",
    envvar="NUMROUTE_WEB_RETENTION",
    show_envvar=True,
    type=Finite(min=0, max=HOURS_MAX),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="How long a list and its results are kept after it is done.",
)
@click.option(
    "--region",
    envvar="NUMROUTE_REGION",
    show_envvar=True,
    metavar="CC",
    help="Country whose national formats the page offers to understand, e.g. RU.",
)
@click.option(
    "--callback-host",
    "callback_hosts",
    envvar="NUMROUTE_WEB_CALLBACK_HOSTS",
    show_envvar=True,
    multiple=True,
    metavar="HOST",
    help="A host that a list's callback_url may name; its addresses must be public. Or an address "
    "or network that may be private. May be given repeatedly.",
)
@click.option(
    "--callback-secret",
    envvar="NUMROUTE_WEB_CALLBACK_SECRET",
    show_envvar=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the secret that signs callbacks: whsec_ and base64, readable by its owner only.",
)
@http_security_options
@check_option
@json_option
def web(
    *,
    store: Path,
    listen: str,
    max_age_hours: float | None,
    list_megabytes: int,
    retention_hours: float,
    security: Security,
    check: bool,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - those that WebSettings takes by the same name
) -> None:
    """Answer lookups over HTTP, and serve a page for people with a list.

    Clients are known by the tokens of --tokens, as in `numroute serve`. SIGTERM or Ctrl-C stops.
    """
    from numroute.files import require_writable  # noqa: PLC0415 - likewise
    from numroute_web.app import run  # noqa: PLC0415 - slow to import
    from numroute_web.settings import WebSettings  # noqa: PLC0415
    from numroute_web.webhooks import Webhooks  # noqa: PLC0415

    if security.has_client_ca:
        raise click.UsageError(
            "--tls-client-ca is for numroute serve: give --tokens, over HTTP tokens decide"
        )
    web_settings = WebSettings(
        store=store,
        listen=listen,
        max_age=None if max_age_hours is None else timedelta(hours=max_age_hours),
        list_bytes_max=list_megabytes << 20,
        retention=timedelta(hours=retention_hours),
        security=security,
        **settings,
    )
    if check:
        require_writable(web_settings.jobs)
        Webhooks.of_settings(web_settings.callback_hosts, web_settings.callback_secret)
        facts = {"lists": f"{web_settings.jobs}, {web_settings.list_workers:,} at once"}
        print_check(web_settings.as_server(), facts, as_json=as_json)
    else:
        run(web_settings)
