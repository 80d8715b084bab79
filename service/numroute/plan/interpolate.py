"""Answer what a load needs from the measured table, and refuse to go beyond it. No I/O here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from rich.filesize import decimal

from numroute.client.coalescing import NUMBERS_PER_BATCH, WAIT_SECONDS
from numroute.errors import SettingError
from numroute.plan.table import BatchRow, Calibration, LoadStep, Spread

Row = TypeVar("Row", BatchRow, LoadStep)

INDEX_BYTES = 50_000_000
INDEX_BYTES_PER_NUMBER = 5.7
"""A snapshot over the Russian plans, with times of porting: a line that leaves the sizes of real
files by 12 % at most from 5 to 300 million ported numbers, and is above them for fewer."""

SNAPSHOTS_ON_DISK = 3
"""The previous one, the current one, and the next while it is written."""

BUILD_BYTES = 300_000_000
BUILD_BYTES_PER_NUMBER = 33
"""Memory of a build from a sorted dump; an unsorted one takes 16 bytes a number more."""

DUMP_BYTES_PER_NUMBER = 108
"""A row of Port_All_Full, unpacked."""

HEADER_BYTES = 200
"""HTTP/2 and gRPC headers of a call or of its answer, and an acknowledgement each way."""

FRAMING = 1.06
"""Ethernet, IP, TCP and HTTP/2 frames around 1,448 bytes of payload: 78 + 9/16 bytes more."""

SYSTEM_BYTES = 1_000_000_000
"""Memory left to the operating system."""

LOAD_MAX = 0.7
"""Share of a core's capacity that is planned to be used: the rest is for bursts and swaps."""

LOADS_TRIED = 141
"""Loads between the lowest and the highest allowed that are held against the p99."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """A load and its conditions.

    ``rate``: numbers per second. ``ported``: ported numbers in the index. ``batch``: numbers a
    call. ``p99_seconds``: what 99 % of calls must stay below, if it matters. ``spare``: machines
    beyond what the load needs. ``load_max``: share of a core's capacity that may be used.
    ``network_bits``: bits per second that a machine can send, and receive. ``gathered``: the
    numbers are asked for one by one, and each of ``clients`` processes gathers its own into calls.
    """

    rate: float
    ported: int
    batch: int
    p99_seconds: float | None = None
    spare: int = 0
    load_max: float = LOAD_MAX
    network_bits: float = 10e9
    gathered: bool = False
    clients: int = 1

    @property
    def numbers_per_call(self) -> float:
        """How many numbers a call has: of a busy service, those that come while it may wait."""
        if not self.gathered:
            return self.batch
        return min(NUMBERS_PER_BATCH, max(1.0, self.rate * WAIT_SECONDS / self.clients))


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityPlan:
    """What a load needs.

    ``machines`` include the spare ones; ``processes`` are those of all machines, one on each core.
    ``cores``: what the load takes before rounding, by the fastest, the usual and the slowest
    round. ``capacity``: numbers per second without the spare machines. Bytes of memory and disk
    are per machine: ``private_bytes`` of its processes, ``index_bytes`` in the page cache, twice
    that while a snapshot is replaced; ``build_bytes`` where the index is built. Bytes per second
    are those of all machines.
    """

    machines: int
    processes_per_machine: int
    processes: int
    cores: Spread
    numbers_per_call: float
    binding: str
    capacity: float
    load: float
    cpu_per_call: Spread
    p50_seconds: Spread
    p99_seconds: Spread
    p99_reached: bool
    private_bytes: int
    index_bytes: int
    build_bytes: int
    disk_bytes: int
    bytes_in_per_second: float
    bytes_out_per_second: float
    notes: tuple[str, ...]


def plan(calibration: Calibration, asked: Requirements) -> CapacityPlan:
    """Return what the load needs on machines of the calibrated kind.

    Raises SettingError when the question goes beyond what was measured, or when one machine cannot
    hold the index in memory or on disk: more machines do not help, because each has its own copy.
    """
    _require_measured(calibration, asked)
    batch = asked.numbers_per_call
    row = _between(batch, "batch", calibration.rows)
    # Numbers that are gathered wait for others: half of the time on average, all of it at most.
    wait = WAIT_SECONDS if asked.gathered else 0.0
    calls, busy = asked.rate / batch, row.busy_cpu_seconds
    load, limited, reached = _highest_load(row, asked, wait)
    low, usual, high = (calls * seconds / load for seconds in busy)
    bytes_in = calls * (8 * batch + HEADER_BYTES) * FRAMING
    bytes_out = calls * (row.answer_bytes + HEADER_BYTES) * FRAMING
    by_cores = _up(low / calibration.machine.cores)
    by_network = _up(8 * max(bytes_in, bytes_out) / asked.network_bits)
    needed = max(by_cores, by_network)
    per_machine = _up(low / needed)
    actual = calls / (needed * per_machine) * busy[0]
    step = _between(actual, "load", row.steps)
    notes = []
    if actual < step.load:
        notes.append(
            f"a load of {actual:.2%} was not measured; the latencies are those at {step.load:.0%}"
        )
    if per_machine > 1:
        notes.append(
            f"one process was measured, not {per_machine} that share caches and memory: leave room"
        )
    index = round(INDEX_BYTES + asked.ported * INDEX_BYTES_PER_NUMBER)
    private = round(per_machine * row.private_bytes)
    disk = SNAPSHOTS_ON_DISK * index + asked.ported * DUMP_BYTES_PER_NUMBER
    _require_room("memory", private + 2 * index + SYSTEM_BYTES, calibration.machine.memory_bytes)
    _require_room("disk", disk, calibration.machine.disk_bytes)
    return CapacityPlan(
        machines=needed + asked.spare,
        processes_per_machine=per_machine,
        processes=(needed + asked.spare) * per_machine,
        cores=(low, usual, high),
        numbers_per_call=batch,
        binding="network" if by_network > by_cores else "p99" if limited else "cores",
        capacity=needed * per_machine * batch / busy[0],
        load=actual,
        cpu_per_call=step.cpu_seconds,
        p50_seconds=_later(step.p50_seconds, wait / 2),
        p99_seconds=_later(step.p99_seconds, wait),
        p99_reached=reached,
        private_bytes=private,
        index_bytes=index,
        build_bytes=BUILD_BYTES + asked.ported * BUILD_BYTES_PER_NUMBER,
        disk_bytes=disk,
        bytes_in_per_second=bytes_in,
        bytes_out_per_second=bytes_out,
        notes=tuple(notes),
    )


def _between(place: float, key: str, rows: Sequence[Row]) -> Row:
    """Return the row at a place, on straight lines between its neighbours; beyond, the last one."""
    places = [getattr(row, key) for row in rows]
    position = float(np.interp(place, places, range(len(places))))
    low = math.floor(position)
    row: Row = _mixed(rows[low], rows[math.ceil(position)], position - low)
    return row


def _mixed(low: Any, high: Any, share: float) -> Any:  # noqa: ANN401 - rows, spreads and figures
    if isinstance(low, tuple):
        return tuple(_mixed(*pair, share) for pair in zip(low, high, strict=True))
    if isinstance(low, BatchRow | LoadStep):
        names = [field.name for field in fields(low)]
        return replace(
            low, **{name: _mixed(getattr(low, name), getattr(high, name), share) for name in names}
        )
    return low + share * (high - low)


def _later(spread: Spread, seconds: float) -> Spread:
    low, usual, high = spread
    return low + seconds, usual + seconds, high + seconds


def _require_measured(calibration: Calibration, asked: Requirements) -> None:
    """Raise SettingError when the table does not cover the question."""
    first, last = calibration.rows[0], calibration.rows[-1]
    for what, value, low, high in (
        ("--batch", asked.batch, first.batch, last.batch),
        ("--load", asked.load_max, first.steps[0].load, first.steps[-1].load),
        ("--ported", asked.ported, 0, calibration.ported),
    ):
        if not low <= value <= high:
            raise SettingError(
                f"{what} {value:,} was not measured",
                hint=f"Give {low:,} to {high:,}. "
                "For more ported numbers calibrate with a larger store",
            )


def _highest_load(row: BatchRow, asked: Requirements, wait: float) -> tuple[float, bool, bool]:
    """Return the highest load allowed, whether the p99 limits it, and whether the p99 is kept.

    The p99 must hold at every lower load too: a process with little to do sleeps between calls.
    """
    if asked.p99_seconds is None:
        return asked.load_max, False, True
    lowest = row.steps[0].load
    highest = 0.0
    for load in np.linspace(lowest, asked.load_max, LOADS_TRIED).tolist():
        if _between(load, "load", row.steps).p99_seconds[1] + wait > asked.p99_seconds:
            return max(lowest, highest), True, highest > 0
        highest = load
    return asked.load_max, False, True


def _require_room(what: str, needed: int, there: int) -> None:
    """Raise SettingError when a machine has too little memory or disk for the index."""
    if needed > there:
        raise SettingError(
            f"each machine needs {needed / 1e9:,.1f} GB of {what}, the calibrated one has "
            f"{there / 1e9:,.1f} GB",
            hint="More machines do not help, each holds the whole index: calibrate a larger one",
        )


def _up(value: float) -> int:
    return max(1, math.ceil(value - 1e-9))


def facts(asked: Requirements, answer: CapacityPlan) -> list[tuple[str, str]]:
    """Return the plan as names and values, for people."""
    p99 = _ranged(answer.p99_seconds)
    if asked.p99_seconds is not None:
        p99 += f", asked for {_duration(asked.p99_seconds)}"
    if not answer.p99_reached:
        p99 += ", which no measured load keeps"
    low, _, high = answer.cores
    index = answer.index_bytes
    return [
        ("machines", f"{answer.machines}, {asked.spare} of them spare"),
        ("processes", f"{answer.processes}, {answer.processes_per_machine} on each machine"),
        ("cores", f"{answer.processes} ({low:.2f} to {high:.2f} needed, by the rounds)"),
        ("numbers a call", f"{answer.numbers_per_call:,.0f}"),
        ("binding limit", answer.binding),
        ("load", f"{answer.load:.0%} of {answer.capacity:,.0f} numbers/s"),
        ("CPU a call", _ranged(answer.cpu_per_call)),
        ("p50", _ranged(answer.p50_seconds)),
        ("p99", p99),
        ("memory, private", f"{decimal(answer.private_bytes)} on each machine"),
        ("memory, page cache", f"{decimal(index)} each, {decimal(2 * index)} while it is replaced"),
        ("memory, build", f"{decimal(answer.build_bytes)} where the index is built"),
        ("disk", f"{decimal(answer.disk_bytes)}: three snapshots and an unpacked dump"),
        ("network in", f"{decimal(round(answer.bytes_in_per_second))}/s in all"),
        ("network out", f"{decimal(round(answer.bytes_out_per_second))}/s in all"),
        *(("note", note) for note in answer.notes),
    ]


def _ranged(spread: Spread) -> str:
    """Return the median and, where the rounds differ, their range."""
    low, usual, high = map(_duration, spread)
    return usual if low == high else f"{usual} ({low} to {high})"


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f} ms"
