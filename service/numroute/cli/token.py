"""``numroute token``: make tokens, and list the clients of a tokens file."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from msgspec.structs import asdict

from numroute.cli.console import print_json, print_table, time_text
from numroute.cli.group import Group
from numroute.cli.options import FILE, json_option, setting
from numroute.server import auth

DAYS_MAX = 36_500


@click.group(cls=Group)
def token() -> None:
    """Make tokens for the service's clients, and list the clients."""


@token.command()
@click.argument("client")
@click.option(
    "--days", type=click.IntRange(1, DAYS_MAX), help="Days until the token expires; default never."
)
@click.option(
    "--append",
    "file",
    type=FILE,
    help="Append the entry to this tokens file, and print only the token.",
)
@json_option
def new(client: str, days: int | None, file: Path | None, as_json: bool) -> None:
    """Make a token for CLIENT; print it, once, and its entry for the tokens file.

    The entry holds only the token's hash. To rotate, add a second entry for the same client, hand
    the new token over, and remove the first entry; a running service reads the file again.
    """
    if not auth.NAME.fullmatch(client):
        raise click.BadParameter(
            f"{client!r} is not a client's name: {auth.NAME_RULE}", param_hint="CLIENT"
        )
    expires = None
    if days is not None:
        expires = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
    secret, sha256 = auth.new_token()
    entry = auth.token_entry(client, sha256, expires)
    if file is not None:
        _append(file, entry)
    if as_json:
        print_json({"client": client, "token": secret, "entry": entry, "expires": expires})
    elif file is not None:
        click.echo(secret)
    else:
        click.echo(f"token, for the client, shown only now: {secret}\n")
        click.echo(f"entry, for the tokens file:\n\n{entry}", nl=False)


@token.command("list")
@setting(
    "--tokens", "TOML file of clients, their token hashes and limits.", required=True, type=FILE
)
@json_option
def list_(tokens: Path, as_json: bool) -> None:
    """Check a tokens file and list its clients, their token hashes and limits."""
    clients = sorted(auth.read_clients(tokens, "").clients.items())
    if as_json:
        for name, client in clients:
            shown = [asdict(each) | {"expired": each.expired} for each in client.tokens]
            print_json({"client": name, **asdict(client), "tokens": shown})
        return
    print_table(
        ("client", "tokens", "certificates", "numbers/s", "at once", "a day"),
        [
            (
                name,
                ", ".join(map(_token_text, client.tokens)) or "none",
                ", ".join(client.certificates),
                *map(_limit, (client.rate, client.burst, client.daily)),
            )
            for name, client in clients
        ],
    )


def _append(file: Path, entry: str) -> None:
    """Append an entry to a tokens file; a new file is readable by its owner only."""
    separator = ""
    if file.exists():
        # The service would refuse the file: say so before it grows.
        auth.read_clients(file, "")
        text = file.read_text("utf-8")
        separator = "\n\n" if text else ""
        auth.parse_clients(text + separator + entry, file)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(separator + entry)


def _token_text(each: auth.Token) -> str:
    until = f" (until {time_text(each.expires)})" if each.expires else ""
    return f"{each.sha256[:8]}…{' (expired)' if each.expired else until}"


def _limit(value: int | None) -> str:
    return "any" if value is None else f"{value:,}"
