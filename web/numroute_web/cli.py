"""``numroute web``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import click

from numroute.cli.console import show
from numroute.cli.group import Daemon
from numroute.cli.options import FILE, Finite, as_hours, json_option, setting, store_option
from numroute.cli.serve import (
    HOURS_MAX,
    check_option,
    max_age_option,
    security_options,
)
from numroute.server.limits import WORKERS_MAX
from numroute.server.settings import Security

LIST_MEBIBYTES_MAX: Final = 1 << 20


@click.command(cls=Daemon)
@store_option
@setting(
    "--listen",
    "Address to listen on; with port 0 the system chooses a free port.",
    prefix="WEB_",
    default="127.0.0.1:8080",
    metavar="HOST:PORT",
)
@max_age_option("mark answers as stale")
@setting(
    "--jobs",
    "Folder of the lists that clients send and of their results; made if it is missing.",
    prefix="WEB_",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("numroute-jobs"),
)
@setting(
    "--choices",
    "Folder of what lists may use: policies/*.toml, prices/*.toml, do-not-send/*.",
    prefix="WEB_",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
)
@setting(
    "--list-workers",
    "How many lists are routed at once.",
    prefix="WEB_",
    type=click.IntRange(1, WORKERS_MAX),
    default=lambda: max(1, len(os.sched_getaffinity(0)) // 2),
    show_default="one for two cores",
    metavar="COUNT",
)
@setting(
    "--list-size",
    "The largest list that is taken.",
    "list_mebibytes",
    prefix="WEB_",
    type=click.IntRange(1, LIST_MEBIBYTES_MAX),
    default=1024,
    metavar="MIB",
)
@setting(
    "--retention",
    "How long a list and its results are kept after it is done.",
    prefix="WEB_",
    type=Finite(min=0, max=HOURS_MAX),
    callback=as_hours,
    default=24.0,
    metavar="HOURS",
)
@setting(
    "--region",
    "Country whose national formats the page offers to understand, e.g. RU.",
    metavar="CC",
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
@setting(
    "--callback-secret",
    "File of the secret that signs callbacks: whsec_ and base64, readable by its owner only.",
    prefix="WEB_",
    type=FILE,
)
@security_options(http=True)
@check_option
@json_option
def web(
    *,
    list_mebibytes: int,
    security: Security,
    check: bool,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - those that WebSettings takes by the same name
) -> None:
    """Answer lookups over HTTP, and serve a page for people with a list.

    Clients are known by the tokens of --tokens, as in `numroute serve`. SIGTERM or Ctrl-C stops.
    """
    from numroute_web.app import run  # noqa: PLC0415 - slow to import
    from numroute_web.settings import WebSettings  # noqa: PLC0415
    from numroute_web.webhooks import Webhooks  # noqa: PLC0415

    if security.has_client_ca:
        raise click.UsageError(
            "--tls-client-ca is for numroute serve: give --tokens, over HTTP tokens decide"
        )
    web_settings = WebSettings(list_bytes_max=list_mebibytes << 20, security=security, **settings)
    if check:
        from numroute.files import require_writable  # noqa: PLC0415 - only for --check
        from numroute.server.check import check as checked  # noqa: PLC0415 - cryptography

        require_writable(web_settings.jobs)
        Webhooks.of_settings(web_settings.callback_hosts, web_settings.callback_secret)
        lists = f"{web_settings.jobs}, {web_settings.list_workers:,} at once"
        facts = checked(web_settings.as_server()) | {"lists": lists}
        show(facts, facts.items(), as_json=as_json)
    else:
        run(web_settings)
