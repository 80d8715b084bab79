"""A disk that fills up under a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.mounts import MOUNT, mounted

from numroute.errors import InputError
from numroute.index import SnapshotStore
from numroute_campaign import number_set
from numroute_campaign.lists.opening import Wanted
from numroute_campaign.number_set import NumberSet
from numroute_campaign.outputs import OutputSettings
from numroute_campaign.routers import SnapshotRouter
from numroute_campaign.run import Campaign, run_campaign

PART_ROWS = 9000


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
def test_a_full_disk(route, list_csv: Path, tmp_path: Path, form: str) -> None:
    """The reason and what to do are said, no number is, and no half output is left."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=200k", "none"):
        err = route(list_csv, "--format", form, out="small/out", status=1).err
        assert "small/out: the output cannot be written: " in err
        assert "No space left on device" in err
        assert "Make room, then run again" in err
        assert "79" not in err.replace(str(tmp_path), "")
        assert list((tmp_path / "small").iterdir()) == []


@pytest.mark.parametrize(
    ("form", "size"), [("csv", "1m"), ("parquet", "1200k"), ("arrow", "1500k")]
)
def test_a_full_disk_keeps_what_is_final(
    form: str, size: str, store: Path, planted, route, tmp_path: Path, list_parts: Path
) -> None:
    """With more room --resume goes on behind the last final part, to the same bytes."""
    whole = route(list_parts, "--format", form, out="whole")
    small = tmp_path / "small"
    with mounted(small, "-t", "tmpfs", "-o", f"size={size}", "none"):
        with (
            SnapshotStore(store).open() as snapshot,
            pytest.raises(InputError, match="No space left on device"),
        ):
            run_campaign(
                Campaign(
                    lists=(str(list_parts),),
                    out=small / "out",
                    wanted=Wanted(region="RU"),
                    output=OutputSettings(form=form),
                    part_rows=PART_ROWS,
                ),
                SnapshotRouter(snapshot),
            )
        assert [path.name for path in small.iterdir()] == [".out.numroute"]
        # Parquet and Arrow files are written at the end: some were whole when the disk was full.
        assert list((small / ".out.numroute" / "output").glob(f"*.{form}"))
        err = route(list_parts, "--format", form, "--resume", out="small/out", status=1).err
        assert "No space left on device" in err
        subprocess.run([MOUNT, "-o", "remount,size=64m", small], check=True)
        resumed = route(list_parts, "--format", form, "--resume", out="small/out")
        assert resumed.summary["steps"]["rows"] == planted.table.num_rows
        for path in whole.folder.iterdir():
            assert (resumed.folder / path.name).read_bytes() == path.read_bytes()


def test_a_full_disk_under_the_set_of_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large run that finds no room raises the system's error; the process goes on."""
    monkeypatch.setattr(number_set, "RUN_IN_MEMORY_MAX", 1000)
    drawn = np.random.default_rng(1).integers(1, 10**15, 60_000).astype(np.uint64)
    small = tmp_path / "small"
    with mounted(small, "-t", "tmpfs", "-o", "size=64k", "none"):
        numbers = NumberSet(small, bitmap_bytes_max=8192, page_tables_max=1)
        with pytest.raises(OSError, match="No space left on device"):
            numbers.add(drawn)
