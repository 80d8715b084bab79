"""``numroute-load rollback``, ``pin`` and ``unpin``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import TYPE_CHECKING

import click

from numroute.cli.console import print_facts, print_json, time_text
from numroute.cli.options import json_option, store_option
from numroute.errors import StoreError
from numroute.index import SnapshotStore, writing
from numroute_loader.cli.terminal import user_name
from numroute_loader.cli.terms import reason_option

if TYPE_CHECKING:
    from numroute.index import Override


@click.command()
@click.argument("snapshot", metavar="ID|previous")
@store_option
@reason_option
@json_option
def rollback(*, snapshot: str, store: Path, reason: str, as_json: bool) -> None:
    """Make an older snapshot current again, at once.

    Every byte of it is proven first. Running services take it over within a second.
    """
    opened = SnapshotStore(store)
    with writing(opened) as writer:
        before = _overrides(opened)
        metadata = writer.roll_back(opened.resolve(snapshot), asked_by=user_name(), reason=reason)
        after = _overrides(opened)
    if before != after and (before is not None or _ever_overridden(opened)):
        click.echo(
            f"warning: the overrides changed with it: {len(after or ())} now, "
            f"{'not known how many' if before is None else len(before)} before; "
            "`numroute-load override apply FILE` sets them",
            err=True,
        )
    if as_json:
        print_json({"snapshot": {"id": metadata.snapshot_id, "as_of": metadata.as_of}})
    else:
        print_facts([("current", metadata.snapshot_id), ("data as of", time_text(metadata.as_of))])


@click.command()
@click.argument("snapshot", metavar="ID|current|previous")
@store_option
@reason_option
@json_option
def pin(*, snapshot: str, store: Path, reason: str, as_json: bool) -> None:
    """Keep a snapshot until it is unpinned, whatever the retention says."""
    opened = SnapshotStore(store)
    with writing(opened) as writer:
        wanted = opened.resolve(snapshot)
        writer.pin(wanted, asked_by=user_name(), reason=reason)
    _print_pin(wanted, pinned=True, as_json=as_json)


@click.command()
@click.argument("snapshot", metavar="ID|current|previous")
@store_option
@reason_option
@json_option
def unpin(*, snapshot: str, store: Path, reason: str, as_json: bool) -> None:
    """Leave a pinned snapshot to the retention again."""
    opened = SnapshotStore(store)
    with writing(opened) as writer:
        wanted = opened.resolve(snapshot)
        writer.unpin(wanted, asked_by=user_name(), reason=reason)
    _print_pin(wanted, pinned=False, as_json=as_json)


def _overrides(store: SnapshotStore) -> tuple[Override, ...] | None:
    """Return the current snapshot's overrides, None where it cannot be read."""
    try:
        with store.open() as current:
            return current.overrides
    except StoreError:
        return None


def _ever_overridden(store: SnapshotStore) -> bool:
    """Tell whether any snapshot that was ever current had an override."""
    return any((entry.get("counts") or {}).get("overrides") for entry in store.history())


def _print_pin(snapshot_id: str, *, pinned: bool, as_json: bool) -> None:
    if as_json:
        print_json({"snapshot": {"id": snapshot_id}, "pinned": pinned})
    else:
        print_facts([("pinned" if pinned else "unpinned", snapshot_id)])
