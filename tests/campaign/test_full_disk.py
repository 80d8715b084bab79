"""A disk that fills up under a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.mounts import mounted


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
