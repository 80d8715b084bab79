"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from support.snapshots import make_metadata

from numroute.index import Content, Snapshot
from numroute.index.writer import write_snapshot

# No test asserts a clock.
settings.register_profile("numroute", deadline=None)
settings.load_profile("numroute")

ROOT = Path(__file__).resolve().parent.parent

# A shell starts what runs in its background deaf to Ctrl-C, and so all that it starts; the tests
# send that signal to their children.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Return the folder of reference data, or skip where it is missing."""
    folder = Path(os.environ.get("NUMROUTE_REFERENCE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "numbering_plan").is_dir():
        pytest.skip(
            "the reference data are missing: set NUMROUTE_REFERENCE_DATA to the folder that holds "
            "numbering_plan/"
        )
    return folder


@pytest.fixture
def open_content(tmp_path: Path):
    """Return a function that writes content to a new file and opens it."""
    opened: list[Snapshot] = []

    def write_and_open(content: Content) -> Snapshot:
        path = tmp_path / f"{len(opened)}.lmdb"
        write_snapshot(path, content, make_metadata())
        opened.append(Snapshot(path))
        return opened[-1]

    yield write_and_open
    for snapshot in opened:
        snapshot.close()
