"""Answer what a load needs from the measured table, and refuse to go beyond it. No I/O here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numroute.client.coalescing import NUMBERS_PER_BATCH, WAIT_SECONDS
from numroute.errors import SettingError
from numroute.plan.table import Calibration, Machine, Spread

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

ROUNDS_RATIO_MAX = 1.5
"""Rounds of a quiet machine differ by less."""

LOADS_TRIED = 141
"""Loads between the lowest and the highest allowed that are held against the p99."""


def index_bytes(ported: int) -> int:
    """Return about the size of a snapshot of this many ported numbers."""
    return round(INDEX_BYTES + ported * INDEX_BYTES_PER_NUMBER)


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

    ``machines`` include ``spare``; ``processes`` are those of all machines, one on each core.
    ``cores``: what the load takes before rounding, by the fastest, the usual and the slowest
    round. ``capacity``: numbers per second without the spare machines. Bytes of memory and disk
    are per machine: ``private_bytes`` of its processes, ``index_bytes`` in the page cache, twice
    that while a snapshot is replaced; ``build_bytes`` where the index is built. Bytes per second
    are those of all machines.
    """

    machines: int
    spare: int
    processes_per_machine: int
    processes: int
    cores: Spread
    numbers_per_call: float
    binding: str
    capacity: float
    load: float
    cpu_utilisation: float
    cpu_per_call: Spread
    p50_seconds: Spread
    p99_seconds: Spread
    p99_reached: bool
    p99_least_seconds: float
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
    table = _Table(calibration, batch, WAIT_SECONDS if asked.gathered else 0.0)
    index = index_bytes(asked.ported)
    calls = asked.rate / batch
    load, limited, reached = _highest_load(table, asked)
    low, usual, high = (calls * seconds / load for seconds in table.busy_cpu_seconds)
    bytes_in = calls * (8 * batch + HEADER_BYTES) * FRAMING
    bytes_out = calls * (table.answer_bytes + HEADER_BYTES) * FRAMING
    by_cores = _up(low / calibration.machine.cores)
    by_network = _up(8 * max(bytes_in, bytes_out) / asked.network_bits)
    needed = max(by_cores, by_network)
    per_machine = _up(low / needed)
    actual = calls / (needed * per_machine) * table.busy_cpu_seconds[0]
    cpu, p50, p99 = table.at(actual)
    answer = CapacityPlan(
        machines=needed + asked.spare,
        spare=asked.spare,
        processes_per_machine=per_machine,
        processes=(needed + asked.spare) * per_machine,
        cores=(low, usual, high),
        numbers_per_call=batch,
        binding="network" if by_network > by_cores else "p99" if limited else "cores",
        capacity=needed * per_machine * batch / table.busy_cpu_seconds[0],
        load=actual,
        cpu_utilisation=min(1.0, actual * cpu[1] / table.busy_cpu_seconds[0]),
        cpu_per_call=cpu,
        p50_seconds=p50,
        p99_seconds=p99,
        p99_reached=reached,
        p99_least_seconds=table.at(table.loads[0])[2][1],
        private_bytes=round(per_machine * table.private_bytes),
        index_bytes=index,
        build_bytes=BUILD_BYTES + asked.ported * BUILD_BYTES_PER_NUMBER,
        disk_bytes=SNAPSHOTS_ON_DISK * index + asked.ported * DUMP_BYTES_PER_NUMBER,
        bytes_in_per_second=bytes_in,
        bytes_out_per_second=bytes_out,
        notes=_notes(table, asked, actual, per_machine, p99),
    )
    _require_room(calibration.machine, answer)
    return answer


class _Table:
    """The measured figures of one size of batch, on straight lines between its neighbours."""

    def __init__(self, calibration: Calibration, batch: float, wait_seconds: float) -> None:
        rows = calibration.rows
        batches = [row.batch for row in rows]
        figures = [
            [(step.cpu_seconds, step.p50_seconds, step.p99_seconds) for step in row.steps]
            for row in rows
        ]
        # Numbers that are gathered wait for others: half of the time on average, all of it at most.
        wait = np.array([[0.0], [wait_seconds / 2], [wait_seconds]])
        self.loads = [step.load for step in rows[0].steps]
        self._figures = _between(batch, batches, figures) + wait
        self.busy_cpu_seconds: list[float] = _between(
            batch, batches, [row.busy_cpu_seconds for row in rows]
        ).tolist()
        self.answer_bytes, self.private_bytes = _between(
            batch, batches, [(row.answer_bytes, row.private_bytes) for row in rows]
        ).tolist()

    def at(self, load: float) -> tuple[Spread, Spread, Spread]:
        """Return CPU time, p50 and p99 of a call at this load; beyond the steps, the last one's."""
        cpu, p50, p99 = map(tuple, _between(load, self.loads, self._figures).tolist())
        return cpu, p50, p99


def _between(place: float, places: Sequence[float], values: ArrayLike) -> NDArray[np.float64]:
    """Return the value at a place, on straight lines between those at the places around it."""
    array = np.asarray(values, np.float64)
    position = float(np.interp(place, places, range(len(places))))
    low, high = math.floor(position), math.ceil(position)
    between: NDArray[np.float64] = array[low] + (position - low) * (array[high] - array[low])
    return between


def _require_measured(calibration: Calibration, asked: Requirements) -> None:
    """Raise SettingError when the table does not cover the question."""
    first, last = calibration.rows[0], calibration.rows[-1]
    if not first.batch <= asked.batch <= last.batch:
        raise SettingError(
            f"a batch of {asked.batch:,} was not measured",
            hint=f"Give {first.batch:,} to {last.batch:,} numbers a call",
        )
    lowest, highest = first.steps[0].load, first.steps[-1].load
    if not lowest <= asked.load_max <= highest:
        raise SettingError(
            f"a load of {asked.load_max:.0%} was not measured",
            hint=f"Give --load {lowest:g} to {highest:g}",
        )
    if asked.ported > calibration.ported:
        raise SettingError(
            f"an index of {asked.ported:,} ported numbers is larger than the measured one of "
            f"{calibration.ported:,}",
            hint=f"Calibrate with --ported {asked.ported}",
        )


def _highest_load(table: _Table, asked: Requirements) -> tuple[float, bool, bool]:
    """Return the highest load allowed, whether the p99 limits it, and whether the p99 is kept.

    The p99 must hold at every lower load too: a process with little to do sleeps between calls.
    """
    if asked.p99_seconds is None:
        return asked.load_max, False, True
    loads = np.linspace(table.loads[0], asked.load_max, LOADS_TRIED).tolist()
    kept = 0
    while kept < len(loads) and table.at(loads[kept])[2][1] <= asked.p99_seconds:
        kept += 1
    return loads[max(0, kept - 1)], kept < len(loads), kept > 0


def _notes(
    table: _Table, asked: Requirements, load: float, per_machine: int, p99: Spread
) -> tuple[str, ...]:
    """Say where the plan rests on less than a measurement."""
    notes = []
    if load < table.loads[0]:
        notes.append(
            f"a load of {load:.2%} was not measured; the latencies are those at "
            f"{table.loads[0]:.0%}"
        )
    if per_machine > 1:
        notes.append(
            f"one process was measured, not {per_machine} that share caches and memory: leave room"
        )
    if asked.p99_seconds is not None and p99[1] <= asked.p99_seconds < p99[2]:
        notes.append(f"in one round the p99 was {p99[2] * 1e3:.1f} ms, above the target")
    if asked.gathered:
        notes.append(
            f"each client sends {1 / WAIT_SECONDS:.0f} calls a second at most when answers are "
            "slow; an idle service gets more and smaller ones, and answers sooner"
        )
    least, _, most = table.busy_cpu_seconds
    if most > ROUNDS_RATIO_MAX * least:
        notes.append(
            f"the slowest round took {most / least:.1f} times as long as the fastest: the machine "
            "was not quiet, calibrate again"
        )
    return tuple(notes)


def _require_room(machine: Machine, answer: CapacityPlan) -> None:
    needed = answer.private_bytes + 2 * answer.index_bytes + SYSTEM_BYTES
    if needed > machine.memory_bytes:
        raise SettingError(
            f"each machine needs {needed / 1e9:,.1f} GB of memory, the calibrated one has "
            f"{machine.memory_bytes / 1e9:,.1f} GB",
            hint="More machines do not help, each holds the whole index: calibrate one with more "
            "memory, or divide the numbers by country",
        )
    if answer.disk_bytes > machine.disk_bytes:
        raise SettingError(
            f"each machine needs {answer.disk_bytes / 1e9:,.1f} GB of disk, the calibrated one has "
            f"{machine.disk_bytes / 1e9:,.1f} GB",
            hint="Calibrate with TMPDIR on the disk that will hold the store",
        )


def _up(value: float) -> int:
    return max(1, math.ceil(value - 1e-9))
