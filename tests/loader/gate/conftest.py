"""A registry over days, and ways to spoil its second day."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.bdpn import put
from support.dict_registry import rows_of
from support.gate_days import Days, generated_days


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    """Return generated days up to today, the first of them published."""
    return generated_days(tmp_path_factory.mktemp("gate"))


@pytest.fixture
def spoiled(days: Days, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the second day's dump with its lines changed."""

    def write(change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> Path:
        rows = change(rows_of(days.files[1]["Port_All"]))
        header = "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount"
        names = header.split(",")
        lines = [header]
        for place, row in enumerate(rows):
            row["RowCount"] = "" if place else str(len(rows))
            lines.append(",".join(row[name] for name in names))
        text = "".join(f"{line}\r\n" for line in lines).encode()
        return put(tmp_path, days.files[1]["Port_All"].name, text)

    return write
