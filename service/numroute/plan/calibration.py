"""The calibration file: what lookups cost on one machine, as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numroute.errors import InputError, SettingError
from numroute.files import write_whole
from numroute.plan.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "numroute calibration"
FORMAT_VERSION = 1

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 1.0)
"""The quantiles that a latency distribution is kept as."""

_HINT = "Calibrate again: `numroute plan --calibrate`"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCost:
    """What one call of ``batch`` numbers costs a server process that has one core.

    ``busy_cpu_seconds``: CPU time per call when the next call is always waiting.
    ``wake_cpu_seconds``: what a call costs more when it finds the process asleep.
    ``latency_seconds``: the ``QUANTILES`` of a call's time, seen by the client, at little load.
    ``answer_bytes``: length of the answer's message. ``private_bytes``: anonymous memory of the
    process after these calls.
    """

    batch: int
    busy_cpu_seconds: float
    wake_cpu_seconds: float
    latency_seconds: tuple[float, ...]
    answer_bytes: int
    private_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCost:
    """Seconds per number of the lookup kernel in one thread on a sample index.

    ``touched_bytes``: the arrays that a lookup may touch. ``mixed_seconds`` for a share of
    ``SHARE`` ported numbers, ``ported_seconds`` when all are ported.
    """

    touched_bytes: int
    mixed_seconds: float
    ported_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderLoad:
    """What was fitted to calls of ``batch`` numbers under load, in ``queueing.Server``'s words."""

    batch: int
    queue_factor: float
    waking_fade: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything measured on one machine.

    ``costs`` ascend by batch, ``kernel`` by bytes touched; the service was measured on the last of
    its sample indexes. ``under_load``: what load does, ascending by batch too.
    ``others_share``: share of the machine that other processes used meanwhile. ``pinned``: server
    and client had a core each.
    """

    made_at: str
    machine: Machine
    costs: tuple[BatchCost, ...]
    kernel: tuple[KernelCost, ...]
    under_load: tuple[UnderLoad, ...]
    others_share: float
    pinned: bool


def save(calibration: Calibration, path: Path) -> None:
    """Write a calibration to a file (0600), whole or not at all.

    Raises InputError when it cannot be written.
    """
    document = {"format": FORMAT, "format_version": FORMAT_VERSION}
    document |= dataclasses.asdict(calibration)
    try:
        write_whole(path, json.dumps(document, indent=1).encode() + b"\n")
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror}") from None


def load(path: Path) -> Calibration:
    """Read a calibration file.

    Raises InputError when it is missing, of another format version, or damaged.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            path,
            "there is no calibration",
            hint="Measure this machine first: `numroute plan --calibrate`",
        ) from None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise InputError(path, "not a calibration file: no JSON", hint=_HINT) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(path, "not a calibration file", hint=_HINT)
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(
            path,
            f"calibration of format version {version}, this program reads version {FORMAT_VERSION}",
            hint=_HINT,
        )
    try:
        return _calibration(document)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"a damaged calibration: {error}", hint=_HINT) from None


def require_machine(calibration: Calibration, machine: Machine) -> None:
    """Raise SettingError when the calibration was made on another kind of machine."""
    differences = calibration.machine.differences(machine)
    if differences:
        raise SettingError(
            f"the calibration is of another machine: {'; '.join(differences)}",
            hint="Calibrate here with `numroute plan --calibrate`, or say --other-machine to plan "
            "machines of that kind",
        )


def _calibration(document: dict[str, Any]) -> Calibration:
    costs = tuple(
        BatchCost(**{**cost, "latency_seconds": tuple(cost["latency_seconds"])})
        for cost in document["costs"]
    )
    kernel = tuple(KernelCost(**cost) for cost in document["kernel"])
    values = [value for cost in costs for value in dataclasses.astuple(cost)]
    values += [value for cost in kernel for value in dataclasses.astuple(cost)]
    figures = [
        figure for value in values for figure in (value if isinstance(value, tuple) else (value,))
    ]
    under_load = tuple(UnderLoad(**fit) for fit in document["under_load"])
    figures += [figure for fit in under_load for figure in dataclasses.astuple(fit)]
    figures += [document["others_share"]]
    # JSON's true is Python's 1 and NaN passes every comparison: both are refused by type and range.
    if not all(type(figure) in {int, float} and 0 <= figure < float("inf") for figure in figures):
        raise ValueError("a figure is missing, negative or no number")
    if (
        not kernel
        or not under_load
        or any(cost.busy_cpu_seconds <= 0 or cost.batch < 1 for cost in costs)
    ):
        raise ValueError("a cost is zero")
    batches = [cost.batch for cost in costs]
    if len(batches) < len(("inline", "threads")) or batches != sorted(set(batches)):
        raise ValueError("the batches do not ascend")
    if any(len(cost.latency_seconds) != len(QUANTILES) for cost in costs):
        raise ValueError("a distribution is incomplete")
    return Calibration(
        made_at=str(document["made_at"]),
        machine=Machine(**document["machine"]),
        costs=costs,
        kernel=kernel,
        under_load=under_load,
        others_share=document["others_share"],
        pinned=bool(document["pinned"]),
    )
