"""``numroute-load history``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import Any

import click

from numroute.cli.console import changes_text, print_blocks, print_json, time_text
from numroute.cli.options import json_option, store_option
from numroute.index import SnapshotStore

NAMES_SHOWN_MAX = 8
"""A snapshot of more files is told by its first and its last one."""


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
    print_blocks((_heading(entry, kept), _details(entry)) for entry in entries)
    if known.damaged:
        click.echo(
            f"warning: {known.damaged} lines of {opened.history_path} cannot be read", err=True
        )


def _heading(entry: dict[str, Any], kept: set[str]) -> str:
    snapshot = entry["snapshot"]
    gone = " (removed)" if snapshot and snapshot not in kept else ""
    return f"{time_text(entry['at'])}  {entry['event']}  {snapshot}{gone}".rstrip()


def _details(entry: dict[str, Any]) -> list[str]:
    as_of = entry.get("as_of")
    changes = changes_text(entry.get("changes") or entry.get("drift"))
    facts = [
        f"data as of {time_text(datetime.fromisoformat(as_of))}" if as_of else "",
        f"by {entry['asked_by']}" if entry.get("asked_by") else "",
        _gate(entry.get("gate", ())),
        f"changes {changes}" if changes else "",
    ]
    return [
        line
        for line in (
            ", ".join(fact for fact in facts if fact),
            f"from {_origin(entry)}" if _origin(entry) else "",
            entry.get("reason", ""),
            entry.get("message", ""),
        )
        if line
    ]


def _origin(entry: dict[str, Any]) -> str:
    """Return where an event's data came from: a place, a dump, or the files of a snapshot."""
    if "url" in entry:
        return str(entry["url"])
    if "dump" in entry:
        return str(entry["dump"])
    names = [source["name"] for source in entry.get("sources", ())]
    if len(names) > NAMES_SHOWN_MAX:
        return f"{names[0]} ... {names[-1]} ({len(names)} files)"
    return ", ".join(names)


def _gate(findings: list[dict[str, Any]]) -> str:
    allowed = [finding for finding in findings if finding["outcome"] == "allowed"]
    if allowed:
        return f"gate allowed {', '.join(finding['check'] for finding in allowed)}"
    return "gate passed" if findings else ""
