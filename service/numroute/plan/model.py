"""The answer: how many machines, processes and bytes a load needs. Nothing here does any I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numroute.errors import SettingError
from numroute.plan.costs import answer_bytes, per_call_and_number, private_bytes, server
from numroute.plan.sizing import build_memory, index_size, store_disk

if TYPE_CHECKING:
    from numroute.plan.calibration import Calibration
    from numroute.plan.queueing import Server
    from numroute.plan.requirements import Requirements

P99 = 0.99

_STEPS = 50
"""Loads that are tried: each fiftieth of a core's capacity."""

_REACHABLE = 1.1
"""When a latency cannot be reached, the plan is for the best one plus a tenth: the best one itself
would take cores without any load."""

REQUEST_HEAD_BYTES = 8
CALL_HEAD_BYTES = 200
"""HTTP/2 and gRPC headers of a call and of its answer, and an acknowledgement each way."""

FRAMING = 1.06
"""Ethernet, IP, TCP and HTTP/2 frames around 1,448 bytes of payload: 78 + 9/16 bytes more."""

SYSTEM_BYTES = 1_000_000_000
"""Memory left to the operating system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on each machine.

    ``private`` to its processes; ``page_cache`` shared by them all, the index; ``replacing``: page
    cache while the next snapshot is taken over and calls still use the one before; ``build``: where
    the index is built.
    """

    private: int
    page_cache: int
    replacing: int
    build: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Bytes per second into and out of all machines together."""

    bytes_in: float
    bytes_out: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a load needs.

    ``machines`` include ``spare``; ``processes`` and ``cores`` are those of all machines, one core
    a process. ``cores_exact`` is what the load itself takes, before rounding to whole cores.
    ``binding`` names what decides the count. ``capacity`` is in numbers per second, of the machines
    without the spare ones. Predictions hold while the spare machines are away.
    """

    machines: int
    spare: int
    processes_per_machine: int
    processes: int
    cores: int
    cores_exact: float
    binding: str
    capacity: float
    load: float
    cpu_utilisation: float
    p50_seconds: float
    p99_seconds: float
    p99_reached: bool
    p99_floor_seconds: float
    call_seconds: float
    number_seconds: float
    memory: Memory
    index_bytes: int
    disk_bytes: int
    network: Network


def plan(calibration: Calibration, asked: Requirements) -> Plan:
    """Return what the load needs on machines of the calibrated kind.

    Raises SettingError when one machine could not hold the index in memory or on disk: more
    machines do not help, because each has its own copy.
    """
    size = index_size(asked.ported, asked.plan_numbers)
    process = server(calibration, asked.batch, size.touched, asked.share)
    calls = asked.rate / asked.batch
    p99_of = _envelope(process)
    floor = p99_of[0]
    reached = asked.p99_seconds is None or floor <= asked.p99_seconds
    target = asked.p99_seconds if reached else floor * _REACHABLE
    load, of_latency = _highest_load(p99_of, target, asked.load_max)

    cores_exact = calls * process.service_seconds / load
    network = _network(calibration, asked, calls)
    by_cores = _up(cores_exact / calibration.machine.cores)
    by_network = _up(8 * max(network.bytes_in, network.bytes_out) / asked.network_bits)
    needed = max(by_cores, by_network)
    per_machine = max(1, _up(cores_exact / needed))
    memory = Memory(
        private=per_machine * private_bytes(calibration, asked.batch),
        page_cache=size.file,
        replacing=2 * size.file,
        build=build_memory(asked.ported),
    )
    disk = store_disk(size, asked.ported)
    _require_room(calibration, memory, disk)
    rate_of_process = calls / (needed * per_machine)
    call, number = per_call_and_number(calibration, asked.batch)
    return Plan(
        machines=needed + asked.spare,
        spare=asked.spare,
        processes_per_machine=per_machine,
        processes=(needed + asked.spare) * per_machine,
        cores=(needed + asked.spare) * per_machine,
        cores_exact=cores_exact,
        binding=_binding(by_cores, by_network, of_latency=of_latency),
        capacity=needed * per_machine * asked.batch / process.service_seconds,
        load=rate_of_process * process.service_seconds,
        cpu_utilisation=process.utilisation(rate_of_process),
        p50_seconds=process.latency(rate_of_process, 0.5),
        p99_seconds=process.latency(rate_of_process, P99),
        p99_reached=reached,
        p99_floor_seconds=floor,
        call_seconds=call,
        number_seconds=number,
        memory=memory,
        index_bytes=size.file,
        disk_bytes=disk,
        network=network,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One input changed: the plan for it, or why there is none."""

    what: str
    plan: Plan | None
    refusal: str = ""


def changes(calibration: Calibration, asked: Requirements) -> list[Change]:
    """Return how the plan answers to each input alone: doubled, or halved."""
    tried = {
        "twice the rate": {"rate": asked.rate * 2},
        "half the rate": {"rate": asked.rate / 2},
        "twice the ported numbers": {"ported": asked.ported * 2},
        "half the batch": {"batch": max(1, asked.batch // 2)},
        "twice the batch": {"batch": asked.batch * 2},
    }
    if asked.p99_seconds is not None:
        tried["half the p99"] = {"p99_seconds": asked.p99_seconds / 2}
        tried["twice the p99"] = {"p99_seconds": asked.p99_seconds * 2}
    found = []
    for what, other in tried.items():
        try:
            # What is asked for of a changed index stays the same mix of numbers.
            changed = replace(asked, ported_share=asked.share, **other)  # type: ignore[arg-type]
            found.append(Change(what=what, plan=plan(calibration, changed)))
        except SettingError as refusal:
            found.append(Change(what=what, plan=None, refusal=refusal.message))
    return found


def _envelope(process: Server) -> list[float]:
    """Return the p99 at each fiftieth of capacity, never less than at a smaller load.

    At a very small load calls wait for the process to wake up, so that a little more load can make
    them faster; a machine has such quiet times too, and the target must hold in them.
    """
    highest = 0.0
    found = []
    for step in range(1, _STEPS):
        at = process.latency(step / _STEPS / process.service_seconds, P99)
        highest = max(highest, at)
        found.append(highest)
    return found


def _highest_load(p99_of: list[float], target: float | None, load_max: float) -> tuple[float, bool]:
    """Return the largest load that keeps both limits, and whether the latency's is the nearer."""
    if target is None:
        return load_max, False
    steps = max(1, sum(p99 <= target for p99 in p99_of))
    load = steps / _STEPS
    return min(load, load_max), load < load_max


def _network(calibration: Calibration, asked: Requirements, calls: float) -> Network:
    request = 8 * asked.batch + REQUEST_HEAD_BYTES + CALL_HEAD_BYTES
    answer = answer_bytes(calibration, asked.batch) + CALL_HEAD_BYTES
    return Network(bytes_in=calls * request * FRAMING, bytes_out=calls * answer * FRAMING)


def _binding(by_cores: int, by_network: int, *, of_latency: bool) -> str:
    if by_network > by_cores:
        return "network"
    return "p99" if of_latency else "cores"


def _require_room(calibration: Calibration, memory: Memory, disk: int) -> None:
    machine = calibration.machine
    needed = memory.private + memory.replacing + SYSTEM_BYTES
    if needed > machine.memory_bytes:
        raise SettingError(
            f"each machine needs {needed / 1e9:,.1f} GB of memory, the calibrated one has "
            f"{machine.memory_bytes / 1e9:,.1f} GB",
            hint="More machines do not help, each holds the whole index: calibrate one with more "
            "memory, or divide the numbers by country",
        )
    if disk > machine.disk_bytes:
        raise SettingError(
            f"each machine needs {disk / 1e9:,.1f} GB of disk, the calibrated one has "
            f"{machine.disk_bytes / 1e9:,.1f} GB",
            hint="Calibrate with TMPDIR on the disk that will hold the store",
        )


def _up(value: float) -> int:
    return max(1, math.ceil(value - 1e-9))
