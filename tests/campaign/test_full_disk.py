"""A disk that fills up under a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.mounts import mounted

from numroute_campaign import number_set
from numroute_campaign.number_set import NumberSet


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
