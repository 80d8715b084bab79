"""Memory of a service over a memory-mapped file: what is its own, and what is the page cache's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pagecache import forget
from benchmarks.queries import MOBILE_MIX, load_queries, load_truth
from benchmarks.services import TIMEOUT_SECONDS, numroute_serve
from benchmarks.suite.prepare import store_of
from benchmarks.suite.results import Row
from numroute.index import SnapshotStore
from numroute.server.memory import resident_share

if TYPE_CHECKING:
    from benchmarks.services import Service
    from benchmarks.suite.scale import Scale

MANY = 1_000_000
FEW = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """Resident memory of one process, in bytes.

    Attributes:
        private: Pages that only this process can have: its heap, its stacks, its data.
        snapshot: Pages of the snapshot file that it has mapped; they are the page cache's, and
            are counted in every process that maps them.
        snapshot_share: Those pages, each divided by how many processes map it (``Pss``).
        other_files: Pages of programs and libraries.
    """

    private: int
    snapshot: int
    snapshot_share: int
    other_files: int


def resident(process: int, snapshot: Path) -> Resident:
    """Return what a process has resident, from ``/proc/PID/smaps``."""
    private = of_snapshot = share = other = 0
    name, is_file = "", False
    for line in Path(f"/proc/{process}/smaps").read_text("utf-8").splitlines():
        key, _, value = line.partition(":")
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else ""
            is_file = name.startswith("/")
            continue
        if not value.endswith("kB"):
            continue
        size = int(value.split()[0]) * 1024
        if name == str(snapshot):
            of_snapshot += size if key == "Rss" else 0
            share += size if key == "Pss" else 0
        elif key in {"Private_Clean", "Private_Dirty"} and (key == "Private_Dirty" or not is_file):
            private += size
        elif is_file and key in {"Shared_Clean", "Shared_Dirty", "Private_Clean"}:
            other += size
    return Resident(private=private, snapshot=of_snapshot, snapshot_share=share, other_files=other)


def measure(scale: Scale) -> list[Row]:
    """Measure one service per size, fresh and after some questions, and two of the main size."""
    rows: list[Row] = []
    for ported in scale.sizes:
        rows += _one(scale, ported)
    return rows + _two(scale)


def _one(scale: Scale, ported: int) -> list[Row]:
    path, store = _snapshot(scale, ported)
    forget(path)
    section = f"Memory of one service, {ported:,} ported numbers"
    where = {"ported": ported}
    rows = [
        Row(
            section=section,
            name="snapshot file",
            unit="MB",
            values=[path.stat().st_size / 1e6],
            where={**where, "what": "file"},
        )
    ]
    with numroute_serve(store) as service:
        for asked in (0, FEW, MANY):
            _ask(scale, ported, service, asked)
            rows += _rows(
                section, service, path, f"after {asked:,} numbers", where | {"asked": asked}
            )
    return rows


def _two(scale: Scale) -> list[Row]:
    path, store = _snapshot(scale, scale.main)
    section = f"Memory of two services over one file, {scale.main:,} ported numbers"
    with numroute_serve(store) as first, numroute_serve(store) as second:
        for service in (first, second):
            _ask(scale, scale.main, service, MANY)
        return [
            row
            for name, service in (("first", first), ("second", second))
            for row in _rows(
                section, service, path, f"{name} process", {"ported": scale.main, "process": name}
            )
        ]


def _rows(
    section: str, service: Service, path: Path, label: str, where: dict[str, float | str]
) -> list[Row]:
    found = resident(service.process, path)
    figures = {
        "private": ("private bytes", found.private / 1e6, "MB"),
        "snapshot": ("snapshot pages mapped", found.snapshot / 1e6, "MB"),
        "snapshot_share": (
            "snapshot pages mapped, divided among processes",
            found.snapshot_share / 1e6,
            "MB",
        ),
        "other_files": ("pages of programs and libraries", found.other_files / 1e6, "MB"),
        "cached": ("share of the file in the page cache", resident_share(path) * 100, "%"),
    }
    return [
        Row(
            section=section,
            name=f"{label}: {name}",
            unit=unit,
            values=[value],
            where={**where, "what": what},
        )
        for what, (name, value, unit) in figures.items()
    ]


def _ask(scale: Scale, ported: int, service: Service, count: int) -> None:
    if not count:
        return
    queries = load_queries(scale.folder(ported), MOBILE_MIX)
    answer = service.client.lookup(queries.numbers[:count], timeout=TIMEOUT_SECONDS)
    truth = load_truth(scale.folder(ported))
    truth.check(queries.expected[:count], answer.route_index, answer.routes)


def _snapshot(scale: Scale, ported: int) -> tuple[Path, Path]:
    store = SnapshotStore(store_of(scale, ported))
    return store.snapshot_path(store.current_id()).resolve(), store.path
