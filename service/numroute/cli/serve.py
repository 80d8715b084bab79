"""``numroute serve``, and the options that it shares with ``numroute web``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from numroute.cli.console import show
from numroute.cli.group import Daemon
from numroute.cli.options import (
    FILE,
    FOLDER,
    Command,
    Finite,
    as_hours,
    gathered,
    json_option,
    seconds,
    setting,
    store_option,
)
from numroute.server.limits import WORKER_MEMORY_MIN, WORKERS_MAX
from numroute.server.settings import Security, ServerSettings, TlsFiles

WORKER_MEBIBYTES_MAX = 1 << 20
HOURS_MAX = 1_000_000


def max_age_option(effect: str) -> Command:
    """Return the option for the age from which data is stale; ``effect`` says what happens then."""
    return setting(
        "--max-age",
        f"When the data is older than this, {effect}.",
        type=Finite(min=0, min_open=True, max=HOURS_MAX),
        callback=as_hours,
        metavar="HOURS",
    )


check_option = click.option(
    "--check", is_flag=True, help="Check settings, files and store, say what would run, and end."
)


def _security(
    *,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    **others: Any,  # noqa: ANN401 - those that Security takes by the same name
) -> Security:
    tls = None
    if tls_cert and tls_key:
        tls = TlsFiles(certificate=tls_cert, key=tls_key, client_ca=tls_client_ca)
    elif tls_cert or tls_key or tls_client_ca:
        raise click.UsageError("for TLS give both --tls-cert and --tls-key")
    return Security(tls=tls, **others)


def security_options(*more: Command, http: bool = False) -> Callable[[Command], Command]:
    """Return a decorator with the options that a command receives as one argument ``security``.

    ``http``: hide the option of client certificates, which the command refuses.
    """
    return gathered(
        "security",
        _security,
        setting(
            "--tls-cert",
            "PEM file of the service's certificate and its chain; serve TLS, with --tls-key.",
            type=FILE,
        ),
        setting(
            "--tls-key",
            "PEM file of the certificate's private key, readable by its owner only.",
            type=FILE,
        ),
        setting(
            "--tls-client-ca",
            "PEM file of the authorities whose clients may connect; every client must then present "
            "a certificate.",
            type=FILE,
            hidden=http,
        ),
        setting(
            "--tokens",
            "TOML file of clients, their token hashes and limits; only these clients may ask.",
            type=FILE,
        ),
        setting(
            "--token-lines",
            "The text of a tokens file itself, beside --tokens or instead of it.",
            default="",
            show_default=False,
            metavar="TOML",
        ),
        setting(
            "--state",
            "Folder in which the use of limits is counted; required if a client has limits.",
            type=FOLDER,
        ),
        setting("--insecure", "Allow plaintext and unknown clients beyond loopback.", is_flag=True),
        *more,
    )


@click.command(cls=Daemon)
@store_option
@setting(
    "--listen",
    "Address to listen on; with port 0 the system chooses a free port.",
    default="127.0.0.1:50051",
    metavar="HOST:PORT",
)
@max_age_option("mark answers as stale and report not ready")
@seconds("--drain", 10.0, "How long calls under way may take to end after SIGTERM.", zero=True)
@setting(
    "--workers",
    "Number of worker processes.",
    type=click.IntRange(1, WORKERS_MAX),
    default=lambda: min(len(os.sched_getaffinity(0)), WORKERS_MAX),
    show_default="one for each core",
    metavar="COUNT",
)
@setting(
    "--worker-memory",
    "Replace a worker that has taken more memory than this, the index not counted.",
    "worker_mebibytes",
    type=click.IntRange(WORKER_MEMORY_MIN >> 20, WORKER_MEBIBYTES_MAX),
    default=2048,
    metavar="MIB",
)
@setting(
    "--metrics",
    "Serve Prometheus metrics and probes over HTTP here: /metrics, /livez, /readyz.",
    metavar="HOST:PORT",
)
@security_options(
    setting(
        "--reflection/--no-reflection",
        "Let clients list the service's methods; by default only on loopback.",
        default=None,
    )
)
@check_option
@json_option
def serve(
    *,
    worker_mebibytes: int,
    security: Security,
    check: bool,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - those that ServerSettings takes by the same name
) -> int:
    """Answer lookups over gRPC from the store's current snapshot.

    A newly published snapshot answers within a second. SIGTERM or Ctrl-C drains and stops, SIGHUP
    replaces the worker processes one by one without an interruption.
    """
    server = ServerSettings(worker_memory=worker_mebibytes << 20, security=security, **settings)
    if not check:
        from numroute.server.supervisor import serve as run_service  # noqa: PLC0415 - loads gRPC

        return run_service(server)
    from numroute.server.check import check as checked  # noqa: PLC0415 - loads cryptography

    facts = checked(server) | {
        "reflection": "yes" if security.offers_reflection(server.host) else "no",
        "workers": f"{server.workers:,}, each replaced beyond {worker_mebibytes:,} MiB",
        "metrics": server.metrics or "none",
    }
    show(facts, facts.items(), as_json=as_json)
    return 0
