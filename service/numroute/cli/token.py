"""``numroute token``: make tokens, and see who has some."""

from __future__ import annotations

import math
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from numroute.cli.console import print_json, print_table
from numroute.cli.options import json_option
from numroute.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numroute.server.tokens import Client, Token

DAYS_MAX = 36_500

tokens_option = click.option(
    "--tokens",
    envvar="NUMROUTE_TOKENS",
    show_envvar=True,
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of clients, hashes of their tokens and their limits.",
)


@click.group()
def token() -> None:
    """Make tokens for the service's clients, and see who has some."""


@token.command()
@click.argument("client")
@click.option(
    "--days",
    type=click.IntRange(1, DAYS_MAX),
    help="Days after which the token ends; without it never.",
)
@click.option(
    "--append",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append the line to this tokens file, and print only the token.",
)
@json_option
def new(client: str, days: int | None, file: Path | None, as_json: bool) -> None:
    """Make a token for CLIENT: print it, once, and the line for the tokens file.

    The line holds only the token's hash. To rotate, add a second line for the same client, hand
    the new token over, and remove the first line; a running service reads the file again.
    """
    from numroute.server.tokens import NAME, new_token, token_line  # noqa: PLC0415 - as in serve

    if not NAME.fullmatch(client):
        raise SettingError(
            f"{client!r} is no client's name",
            hint="A name has at most 64 letters, digits, dots, dashes and underscores",
        )
    expires = None
    if days is not None:
        expires = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
    secret, sha256 = new_token()
    line = token_line(client, sha256, expires)
    if file is not None:
        _append(file, line)
    if as_json:
        print_json({"client": client, "token": secret, "line": line, "expires": expires})
    elif file is not None:
        click.echo(secret)
    else:
        click.echo(f"token, for the client, shown only now: {secret}")
        click.echo(f"line, for the tokens file:             {line}")


@token.command("list")
@tokens_option
@json_option
def list_(tokens: Path, as_json: bool) -> None:
    """Check a tokens file and list its clients with their tokens' hashes and their limits."""
    from numroute.server.clients import read_clients  # noqa: PLC0415 - as above

    table = read_clients(tokens, "")
    now = time.time()
    clients = [table.clients[name] for name in sorted(table.clients)]
    of_client = {
        client.name: [each for each in table.tokens if each.client.name == client.name]
        for client in clients
    }
    if as_json:
        for client in clients:
            print_json(
                {
                    "client": client.name,
                    "tokens": [_token_json(each, now) for each in of_client[client.name]],
                    "certificates": _certificates(client, table.certificate_names),
                    "rate": client.limits.rate,
                    "burst": client.limits.burst,
                    "daily": client.limits.daily,
                }
            )
        return
    print_table(
        ("client", "tokens", "certificates", "numbers/s", "at once", "a day"),
        [
            (
                client.name,
                ", ".join(_token_text(each, now) for each in of_client[client.name]) or "none",
                ", ".join(_certificates(client, table.certificate_names)),
                _limit(client.limits.rate),
                _limit(client.limits.burst),
                _limit(client.limits.daily),
            )
            for client in clients
        ],
    )


def _append(file: Path, line: str) -> None:
    """Append a line to a tokens file, making it readable by its owner only if it is new."""
    from numroute.server.clients import read_clients  # noqa: PLC0415 - as above

    separator = ""
    if file.exists():
        # What the service would refuse is told before it is made longer.
        read_clients(file, "")
        text = file.read_bytes()
        separator = "\n" if text and not text.endswith(b"\n") else ""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(f"{separator}{line}\n")


def _certificates(client: Client, names: Mapping[str, str]) -> list[str]:
    return [name for name, of in names.items() if of == client.name]


def _token_json(each: Token, now: float) -> dict[str, object]:
    expires = None if each.expires == math.inf else datetime.fromtimestamp(each.expires, UTC)
    return {"sha256": each.digest.hex(), "expires": expires, "expired": each.expires <= now}


def _token_text(each: Token, now: float) -> str:
    text = f"{each.digest.hex()[:8]}…"
    if each.expires <= now:
        return f"{text} (expired)"
    if each.expires == math.inf:
        return text
    return f"{text} (until {datetime.fromtimestamp(each.expires, UTC):%Y-%m-%d %H:%M} UTC)"


def _limit(value: float | None) -> str:
    return "any" if value is None else f"{value:,.0f}"
