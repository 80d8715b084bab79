"""What a figure must be read together with: the machine, the versions, and what else was running.

Neither the host's name nor a path is among the facts, so that results can be published.
"""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "grpcio", "protobuf", "pyarrow", "lmdb")

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_BUSY_FIELDS = ("user", "nice", "system", "irq", "softirq", "steal")
_STAT_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuUse:
    """CPU time since some moment in the past, in seconds.

    Attributes:
        machine: All cores' time that was not idle; what the hypervisor took away is part of it.
        own: That of this process and of its children that have ended.
        cores: All cores' time, idle or not.
    """

    machine: float
    own: float
    cores: float

    @classmethod
    def now(cls) -> CpuUse:
        """Return the use up to now."""
        line = Path("/proc/stat").read_text("ascii").partition("\n")[0].split()
        ticks = dict(zip(_STAT_FIELDS, map(int, line[1:]), strict=False))
        own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return cls(
            machine=sum(ticks[name] for name in _BUSY_FIELDS) / _TICKS_PER_SECOND,
            own=sum(usage.ru_utime + usage.ru_stime for usage in own),
            cores=sum(ticks.values()) / _TICKS_PER_SECOND,
        )

    def others_share(self, before: CpuUse) -> float:
        """Return which share of the machine's time others have used since ``before``."""
        others = (self.machine - before.machine) - (self.own - before.own)
        return max(0.0, others / max(self.cores - before.cores, 1 / _TICKS_PER_SECOND))


def facts() -> dict[str, str]:
    """Return the machine's facts by name, in the order in which they are printed."""
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory_bytes('MemTotal') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: version(name) for name in PACKAGES},
    }


def memory_bytes(name: str) -> int:
    """Return a line of /proc/meminfo, e.g. ``MemAvailable``, in bytes."""
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise KeyError(name)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
