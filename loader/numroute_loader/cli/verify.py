"""``numroute-load verify``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time

import click

from numroute.cli.console import print_facts, print_json
from numroute.cli.options import json_option, store_option
from numroute.errors import NoSnapshotError
from numroute.index import SnapshotStore, verify_snapshot


@click.command()
@click.argument("snapshot_id", required=False, metavar="[ID]")
@store_option
@json_option
def verify(snapshot_id: str | None, store: Path, as_json: bool) -> None:
    """Read a snapshot whole and prove that every byte is what was written.

    Without an ID, the current snapshot.
    """
    opened = SnapshotStore(store)
    wanted = snapshot_id or opened.current_id()
    path = opened.snapshot_path(wanted)
    if wanted not in opened.ids():
        raise NoSnapshotError(
            store, f"there is no snapshot {wanted!r}", hint="`numroute info` lists what is there"
        )
    metadata = verify_snapshot(path)
    size = path.stat().st_size
    if as_json:
        print_json({"snapshot": {"id": metadata.snapshot_id}, "file_bytes": size, "intact": True})
    else:
        print_facts([("snapshot", metadata.snapshot_id), ("intact", f"all {size:,} bytes")])
