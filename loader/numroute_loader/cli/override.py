"""``numroute-load override``: routes set by hand."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from numroute.cli.console import counted, show
from numroute.cli.group import Group
from numroute.cli.options import json_option, store_option
from numroute.index import Retention, SnapshotStore, writing
from numroute_loader.cli.options import reason_option, retention_options, user_name
from numroute_loader.overrides import read_overrides


@click.group(cls=Group)
def override() -> None:
    """Route numbers and ranges by hand, against the registry or where it says nothing.

    Overrides take precedence over all other data until they expire. Each new snapshot keeps them
    until another file is applied.
    """


@override.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@store_option
@reason_option
@click.option("--dry-run", is_flag=True, help="Read and check the file; publish nothing.")
@retention_options
@json_option
def apply(
    *, file: Path, store: Path, reason: str, dry_run: bool, retention: Retention, as_json: bool
) -> None:
    """Replace all overrides by those of FILE and publish a snapshot with them.

    FILE is a CSV with the columns number, operator, reason and author and, if needed, last (of a
    range), expires, mcc, mnc, routing_number and region. Numbers are whole international numbers.
    Of several overrides that hold a number the narrowest decides.
    """
    opened = SnapshotStore(store, retention=retention)
    snapshot = None
    with nullcontext() if dry_run else writing(opened) as writer:
        with opened.open() as current:
            overrides, expired = read_overrides(file, current)
        if writer is not None:
            metadata = writer.publish_overrides(overrides, asked_by=user_name(), reason=reason)
            snapshot = metadata.snapshot_id
    if expired:
        click.echo(f"warning: {counted(expired, 'expired line')} left out", err=True)
    _print(snapshot, len(overrides), as_json=as_json)


@override.command()
@store_option
@reason_option
@retention_options
@json_option
def clear(*, store: Path, reason: str, retention: Retention, as_json: bool) -> None:
    """Remove all overrides and publish a snapshot without any."""
    with writing(SnapshotStore(store, retention=retention)) as writer:
        metadata = writer.publish_overrides((), asked_by=user_name(), reason=reason)
    _print(metadata.snapshot_id, 0, as_json=as_json)


def _print(snapshot: str | None, count: int, *, as_json: bool) -> None:
    facts = [("overrides", f"{count:,}"), ("published", snapshot or "nothing: --dry-run")]
    found = {"overrides": count, "snapshot": {"id": snapshot} if snapshot else None}
    show(found, facts, as_json=as_json)
