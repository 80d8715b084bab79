"""``numroute-load history``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import Any

import click

from numroute.console import changes_text, print_json, print_table
from numroute.index import SnapshotStore
from numroute.settings import json_option, store_option


@click.command()
@store_option
@click.option(
    "--last", metavar="N", type=click.IntRange(1), help="Only the newest N events; default all."
)
@json_option
def history(*, store: Path, last: int | None, as_json: bool) -> None:
    """Tell what happened to the store's snapshots, the newest event last.

    What was published when, from which files, by whom, what the gate said and what changed; what
    was rolled back, pinned and removed.
    """
    opened = SnapshotStore(store)
    known = opened.read_history()
    entries = known.entries[-last:] if last else known.entries
    kept = set(opened.ids())
    if as_json:
        for entry in entries:
            print_json({**entry, "kept": entry["snapshot"] in kept})
        return
    print_table(
        ("when", "event", "snapshot", "data as of", "by", "from", "gate", "changes", "why"),
        [_row(entry, kept) for entry in entries],
        unbroken=3,
    )
    if known.damaged:
        click.echo(
            f"warning: {known.damaged} lines of {opened.history_path} cannot be read", err=True
        )


def _row(entry: dict[str, Any], kept: set[str]) -> tuple[str, ...]:
    snapshot = entry["snapshot"]
    return (
        entry["at"].isoformat(timespec="seconds"),
        entry["event"],
        snapshot if not snapshot or snapshot in kept else f"{snapshot} (removed)",
        entry.get("as_of", ""),
        entry.get("asked_by", ""),
        _origin(entry),
        _gate(entry.get("gate", ())),
        changes_text(entry.get("changes") or entry.get("drift")),
        entry.get("reason", "") or entry.get("message", ""),
    )


def _origin(entry: dict[str, Any]) -> str:
    """Return where an event's data came from: a place, a dump, or the files of a snapshot."""
    if "url" in entry:
        return str(entry["url"])
    if "dump" in entry:
        return str(entry["dump"])
    return ", ".join(source["name"] for source in entry.get("sources", ()))


def _gate(findings: list[dict[str, Any]]) -> str:
    allowed = [finding for finding in findings if finding["outcome"] == "allowed"]
    if allowed:
        return "; ".join(f"{finding['check']} allowed: {finding['reason']}" for finding in allowed)
    return "passed" if findings else ""
