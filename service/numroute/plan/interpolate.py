"""Answer what a load needs from the measured table, and refuse to go beyond it. No I/O here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.client.coalescing import NUMBERS_PER_BATCH, WAIT_SECONDS
from numroute.errors import SettingError
from numroute.index import layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numroute.plan.table import Calibration, Machine, Spread

RU_PLAN_NUMBERS = 706_600_000
"""Numbers in the ranges of the Russian mobile plan, 2026."""

RANGE_PIECES = 423_000
"""Pieces of the Russian plan of 2026, mobile and fixed. Other plans are of its size or smaller."""

TABLES_BYTES = 3_000_000
"""Route table, operators and regions as JSON: what real snapshots of 16,000 routes take."""

EXTRA_GRANULES = 60_000
"""A country's plan is spread over blocks of 262,144 numbers that it does not fill."""

PORTED_CELLS_SHARE = 0.43
"""Share of the plan's cells among which ported numbers are spread; ranges are not filled evenly."""

MIXED_BYTES = 2_500_000
"""Rows of strips in granules that several pieces of the plan share."""

RECORD_BYTES = 4
"""The time of porting of one ported number."""

SNAPSHOTS_ON_DISK = 3
"""The previous one, the current one, and the next while it is written."""

BUILD_BYTES = 300_000_000
BUILD_BYTES_PER_NUMBER = 14
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


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSize:
    """Bytes of an index: the whole ``file``, and what lookups may touch of it."""

    touched: int
    file: int


def index_size(ported: int, plan_numbers: int) -> IndexSize:
    """Return the size of an index of ported numbers spread evenly over a numbering plan.

    Each granule of 1,024 numbers has an entry, whether ported or not; each cell of 54 numbers in
    which one is ported takes 8 bytes more, and each ported number one byte.

    Raises SettingError when there are more numbers than the plan or the format has.
    """
    if ported > plan_numbers:
        raise SettingError(
            f"{ported:,} ported numbers are more than the {plan_numbers:,} of the numbering plan",
            hint="Give the plan's size with --plan-numbers",
        )
    if ported > layout.RECORDS_MAX:
        raise SettingError(
            f"{ported:,} ported numbers are more than one snapshot holds, {layout.RECORDS_MAX:,}",
            hint="Divide the numbers by country into several services",
        )
    granules = math.ceil(plan_numbers / (1 << layout.GRANULE_SHIFT)) + EXTRA_GRANULES
    # The chance that a cell has none of the ported numbers is (1 - 1/cells)^ported.
    cells = math.ceil(granules * layout.CELLS_PER_GRANULE * PORTED_CELLS_SHARE)
    in_use = _expected_in_use(ported, cells)
    # Codes are bytes, a granule's filled up to words of eight.
    codes = ported + 3.5 * _expected_in_use(ported, granules)
    touched = math.ceil(8 * granules + 8 * in_use + codes)
    tables = RANGE_PIECES * (8 + 2) + MIXED_BYTES + TABLES_BYTES
    return IndexSize(touched=touched, file=touched + 4 * granules + RECORD_BYTES * ported + tables)


def _expected_in_use(ported: int, places: int) -> float:
    """Return how many of so many equal places have a ported number."""
    return places * -math.expm1(ported * math.log1p(-1 / places))


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """A load and its conditions.

    ``rate``: numbers per second. ``ported``: ported numbers in the index, spread over
    ``plan_numbers``. ``batch``: numbers a call. ``p99_seconds``: what 99 % of calls must stay
    below, if it matters. ``spare``: machines beyond what the load needs. ``ported_share``: of the
    numbers asked for; None = as in the index. ``load_max``: share of a core's capacity that may be
    used. ``network_bits``: bits per second that a machine can send, and receive. ``gathered``: the
    numbers are asked for one by one, and each of ``clients`` processes gathers its own into calls.
    """

    rate: float
    ported: int
    batch: int
    p99_seconds: float | None = None
    spare: int = 0
    plan_numbers: int = RU_PLAN_NUMBERS
    ported_share: float | None = None
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

    def __post_init__(self) -> None:
        """Raise SettingError when a figure makes no sense."""
        for name, valid, allowed in (
            ("rate", self.rate > 0, "more than 0 numbers a second"),
            ("count of ported numbers", self.ported >= 0, "0 or more"),
            ("batch", self.batch >= 1, "1 or more"),
            ("p99", self.p99_seconds is None or self.p99_seconds > 0, "more than 0, or none"),
            ("count of spare machines", self.spare >= 0, "0 or more"),
            ("plan's size", self.plan_numbers > 0, "more than 0 numbers"),
            ("ported share", 0 <= (self.ported_share or 0) <= 1, "0 to 1"),
            ("load", 0 < self.load_max < 1, "more than 0 and less than 1"),
            ("network", self.network_bits > 0, "more than 0 bits a second"),
            ("count of clients", self.clients >= 1, "1 or more"),
            ("batch of gathered numbers", not self.gathered or self.batch == 1, "--batch 1"),
        ):
            if not valid:
                raise SettingError(f"the {name} is out of range", hint=f"Give {allowed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a load needs.

    ``machines`` include ``spare``; ``processes`` are those of all machines, one on each core.
    ``cores_exact``: what the load takes before rounding; ``cores_spread``: likewise, by the
    fastest, the usual and the slowest round. ``capacity``: numbers per second without
    the spare machines. Bytes of memory and disk are per machine: ``private_bytes`` of its
    processes, ``index_bytes`` in the page cache, twice that while a snapshot is replaced;
    ``build_bytes`` where the index is built. Bytes per second are those of all machines.
    """

    machines: int
    spare: int
    processes_per_machine: int
    processes: int
    cores_exact: float
    cores_spread: Spread
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


def plan(calibration: Calibration, asked: Requirements) -> Plan:
    """Return what the load needs on machines of the calibrated kind.

    Raises SettingError when the question goes beyond what was measured, or when one machine cannot
    hold the index in memory or on disk: more machines do not help, because each has its own copy.
    """
    _require_measured(calibration, asked)
    batch = asked.numbers_per_call
    table = _Table(calibration, batch, WAIT_SECONDS if asked.gathered else 0.0)
    size = index_size(asked.ported, asked.plan_numbers)
    calls = asked.rate / batch
    load, limited, reached = _highest_load(table, asked)
    cores_exact = calls * table.busy_cpu_seconds / load
    bytes_in = calls * (8 * batch + HEADER_BYTES) * FRAMING
    bytes_out = calls * (table.answer_bytes + HEADER_BYTES) * FRAMING
    by_cores = _up(cores_exact / calibration.machine.cores)
    by_network = _up(8 * max(bytes_in, bytes_out) / asked.network_bits)
    needed = max(by_cores, by_network)
    per_machine = _up(cores_exact / needed)
    actual = calls / (needed * per_machine) * table.busy_cpu_seconds
    cpu, p50, p99 = table.at(actual)
    answer = Plan(
        machines=needed + asked.spare,
        spare=asked.spare,
        processes_per_machine=per_machine,
        processes=(needed + asked.spare) * per_machine,
        cores_exact=cores_exact,
        cores_spread=(
            calls * table.busy_spread[0] / load,
            calls * table.busy_spread[1] / load,
            calls * table.busy_spread[2] / load,
        ),
        numbers_per_call=batch,
        binding="network" if by_network > by_cores else "p99" if limited else "cores",
        capacity=needed * per_machine * batch / table.busy_cpu_seconds,
        load=actual,
        cpu_utilisation=min(1.0, actual * cpu[1] / table.busy_cpu_seconds),
        cpu_per_call=cpu,
        p50_seconds=p50,
        p99_seconds=p99,
        p99_reached=reached,
        p99_least_seconds=table.at(table.loads[0])[2][1],
        private_bytes=per_machine * table.private_bytes,
        index_bytes=size.file,
        build_bytes=BUILD_BYTES + asked.ported * BUILD_BYTES_PER_NUMBER,
        disk_bytes=SNAPSHOTS_ON_DISK * size.file + asked.ported * DUMP_BYTES_PER_NUMBER,
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
        place = float(np.interp(batch, [row.batch for row in rows], range(len(rows))))
        low, weight = int(place), place % 1
        high = min(low + 1, len(rows) - 1)
        figures = np.array(
            [
                [(step.cpu_seconds, step.p50_seconds, step.p99_seconds) for step in row.steps]
                for row in (rows[low], rows[high])
            ]
        )
        self.loads = [step.load for step in rows[0].steps]
        self._figures: NDArray[np.float64] = figures[0] + weight * (figures[1] - figures[0])
        # Numbers that are gathered wait for others: half of the time on average, all of it at most.
        self._figures += np.array([[0.0], [wait_seconds / 2], [wait_seconds]])
        busy = [np.array(row.busy_cpu_seconds) for row in (rows[low], rows[high])]
        self.busy_spread: list[float] = (busy[0] + weight * (busy[1] - busy[0])).tolist()
        self.busy_cpu_seconds, self.answer_bytes = (
            before + weight * (after - before)
            for before, after in (
                (rows[low].busy_cpu_seconds[0], rows[high].busy_cpu_seconds[1]),
                (rows[low].answer_bytes, rows[high].answer_bytes),
            )
        )
        self.private_bytes = max(rows[low].private_bytes, rows[high].private_bytes)

    def at(self, load: float) -> tuple[Spread, Spread, Spread]:
        """Return CPU time, p50 and p99 of a call at this load; beyond the steps, the last one's."""
        place = float(np.interp(load, self.loads, range(len(self.loads))))
        low, weight = int(place), place % 1
        high = min(low + 1, len(self.loads) - 1)
        blended = self._figures[low] + weight * (self._figures[high] - self._figures[low])
        cpu, p50, p99 = map(tuple, blended.tolist())
        return cpu, p50, p99


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
    if index_size(asked.ported, asked.plan_numbers).touched > calibration.touched_bytes:
        raise SettingError(
            f"an index of {asked.ported:,} ported numbers is larger than the measured one of "
            f"{calibration.ported:,}",
            hint=f"Calibrate with --ported {asked.ported} --plan-numbers {asked.plan_numbers}",
        )
    share = asked.ported_share
    if share is not None and share > calibration.ported_share:
        raise SettingError(
            f"{share:.1%} of ported numbers was not measured, only {calibration.ported_share:.1%}",
            hint=f"Calibrate with --ported-share {share:g}",
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
    found = []
    if load < table.loads[0]:
        found.append(
            f"a load of {load:.2%} was not measured; the latencies are those at "
            f"{table.loads[0]:.0%}"
        )
    if per_machine > 1:
        found.append(
            f"one process was measured, not {per_machine} that share caches and memory: leave room"
        )
    if asked.p99_seconds is not None and p99[1] <= asked.p99_seconds < p99[2]:
        found.append(f"in one round the p99 was {p99[2] * 1e3:.1f} ms, above the target")
    if asked.gathered:
        found.append(
            f"each client sends {1 / WAIT_SECONDS:.0f} calls a second at most when answers are "
            "slow; an idle service gets more and smaller ones, and answers sooner"
        )
    least, _, most = table.busy_spread
    if most > ROUNDS_RATIO_MAX * least:
        found.append(
            f"the slowest round took {most / least:.1f} times as long as the fastest: the machine "
            "was not quiet, calibrate again"
        )
    return tuple(found)


def _require_room(machine: Machine, answer: Plan) -> None:
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
