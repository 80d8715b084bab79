"""Building a snapshot, beside pyarrow's own time to parse the same dump."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.children import BIN, in_own_process, run_measured
from benchmarks.figures import Figure, at_most
from benchmarks.pagecache import warm
from benchmarks.yardsticks.pyarrow_parse import stream_seconds, table_seconds
from numroute.index import SnapshotStore
from numroute.index.layout import OPTIONAL_ARRAYS

if TYPE_CHECKING:
    from benchmarks.registry import Registry
    from benchmarks.speed.options import Options

SECTION = "Build"
TIMES_PYARROW_MAX = 3.0
PEAK_GB_MAX = 2.5
BYTES_PER_PORTED_MAX = 6.5


def measure(options: Options, registry: Registry) -> list[Figure]:
    """Build the store from the registry, several times; the last one stays for the other steps."""
    streams, tables, seconds, peaks = [], [], [], []
    for _ in range(options.slow_rounds):
        for path in registry.paths:
            warm(path)
        streams.append(in_own_process(stream_seconds, registry.port_all, registry.ported))
        shutil.rmtree(options.store, ignore_errors=True)
        finished = run_measured(
            [BIN / "numroute-load", "build", "--json", "--store", options.store, *registry.paths]
        )
        assert json.loads(finished.output)["report"]["ported"] == registry.ported
        tables.append(in_own_process(table_seconds, registry.port_all, registry.ported))
        seconds.append(finished.seconds)
        peaks.append(finished.peak_rss_bytes / 1e9)
    whole, optional = _index_bytes(options)
    return [
        Figure(
            section=SECTION,
            name="pyarrow parses Port_All csv, streaming (`open_csv`)",
            unit="s",
            values=streams,
        ),
        Figure(
            section=SECTION,
            name="pyarrow parses Port_All csv into one table, all cores (`read_csv`)",
            unit="s",
            values=tables,
        ),
        Figure(
            section=SECTION,
            name="`numroute-load build`: dump, operators and plan to a published snapshot",
            unit="s",
            values=seconds,
        ),
        Figure(
            section=SECTION,
            name="build, in times of pyarrow's streaming parse",
            unit="",
            values=_ratios(seconds, streams),
            target=at_most(TIMES_PYARROW_MAX),
        ),
        Figure(
            section=SECTION,
            name="build, in times of pyarrow's parse on all cores",
            unit="",
            values=_ratios(seconds, tables),
        ),
        Figure(
            section=SECTION,
            name="most memory resident during the build",
            unit="GB",
            values=peaks,
            target=at_most(PEAK_GB_MAX),
            worst_counts=True,
        ),
        Figure(
            section=SECTION,
            name="snapshot file per ported number, ranges included, without optional columns",
            unit="bytes",
            values=[(whole - optional) / registry.ported],
            target=at_most(BYTES_PER_PORTED_MAX),
        ),
        Figure(
            section=SECTION,
            name="snapshot file per ported number, with the time of porting",
            unit="bytes",
            values=[whole / registry.ported],
        ),
    ]


def _index_bytes(options: Options) -> tuple[int, int]:
    """Return the length of the snapshot file and how much of it the optional columns take."""
    with SnapshotStore(options.store).open() as snapshot:
        optional = sum(
            spec.length * np.dtype(spec.dtype).itemsize
            for key, spec in snapshot.value_specs.items()
            if key in OPTIONAL_ARRAYS
        )
        return snapshot.file_bytes, optional


def _ratios(subject: list[float], yardstick: list[float]) -> list[float]:
    return [one / other for one, other in zip(subject, yardstick, strict=True)]
