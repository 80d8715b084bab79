"""What a service needs to be told, checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numroute.errors import SettingError
from numroute.server.security import Security

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

POLL_SECONDS = 0.2
"""How often the store is asked which snapshot is current.

One small file is read each time. A new snapshot must be taken over within a second of its
publication; a fifth of that leaves room for opening it.
"""

NUMBERS_PER_BULK_MAX = 500_000
"""The most numbers in one ``BulkLookup``: 4,000,000 bytes, which fits one default-sized message."""

NUMBERS_INLINE_MAX = 4_096
"""The most numbers that are looked up on the event loop itself, about 0.1 ms; more go to a thread.

Handing over costs about as much. With all batches on the loop, a single number asked beside a
stream of batches of 65,536 waited 4.0 ms (median) instead of 0.9 ms.
"""

STREAM_QUESTIONS_IN_WORK_MAX = 4
"""How many questions of one stream are read and not yet answered.

One is written while others are looked up and read. A client that sends without reading costs the
service this many questions and answers, at most 10 MB each, and is then read no further.
"""

PAST_SNAPSHOTS_MAX = 4
"""How many snapshots of the past a process keeps open for questions with ``as_of``."""

PAST_IDLE_SECONDS = 60.0
"""After how long without a question a snapshot of the past is closed."""

NUMBERS_PER_LOOKUP_MAX = 1_000
"""The most texts in one ``Lookup``."""

REQUEST_BYTES_MAX = 4 * 1024 * 1024
"""The largest request that is read at all; gRPC's own default, named because limits have names."""

WORKERS_MAX = 256
"""The most processes of one service; more than cores bring nothing."""

WORKER_MEMORY_MIN = 128 * 1024 * 1024
"""The least bound of a worker's own memory: an idle one takes 60 MB."""

PORT_MAX = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Everything a service is told.

    Attributes:
        store: The folder of the snapshot store.
        listen: Address to listen on, ``host:port`` or ``[IPv6]:port``. Port 0 lets the system
            choose one.
        max_age: Answers from a snapshot whose data is older than this are marked stale. None
            never marks.
        drain_seconds: How long calls that are under way may take to end after a stop signal.
        workers: How many processes answer calls. With more than one, another one supervises them.
        worker_memory: Bytes of memory of its own, the mapped index not counted, from which on a
            worker is replaced by a new one. Nobody replaces the process of a service with one.
        security: Who may reach it and how.
        metrics: Address of metrics and probes, written like ``listen``; None for none.
        reports: The folder that workers report to, for whoever adds them up; None for nobody. The
            service sets it for its workers.
    """

    store: Path
    listen: str = "127.0.0.1:50051"
    max_age: timedelta | None = None
    drain_seconds: float = 10.0
    workers: int = 1
    worker_memory: int = 2 * 1024**3
    security: Security = field(default_factory=Security)
    metrics: str | None = None
    reports: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            SettingError: The address has no host or no port, a number is out of bounds, or the
                service would be an open door, see ``Security.require_allowed``.
        """
        _require_address(self.listen)
        if self.metrics is not None:
            _require_address(self.metrics)
        if not 1 <= self.workers <= WORKERS_MAX:
            raise SettingError(f"workers is {self.workers}", hint=f"Give 1 to {WORKERS_MAX}")
        if self.worker_memory < WORKER_MEMORY_MIN:
            raise SettingError(
                f"worker_memory is {self.worker_memory}", hint=f"Give {WORKER_MEMORY_MIN} or more"
            )
        if self.drain_seconds < 0:
            raise SettingError(
                f"drain_seconds is {self.drain_seconds}", hint="Give 0 or more seconds"
            )
        if self.max_age is not None and self.max_age.total_seconds() < 0:
            raise SettingError(f"max_age is {self.max_age}", hint="Give a positive duration")
        self.security.require_allowed(self.host)

    @property
    def host(self) -> str:
        """The host part of ``listen``, without the brackets of an IPv6 address."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port part of ``listen``."""
        return int(self.listen.rpartition(":")[2])


def _require_address(text: str) -> None:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:\s]+):([0-9]{1,5})", text)
    if match is None or int(match[2]) > PORT_MAX:
        raise SettingError(
            f"{text!r} is not an address to listen on",
            hint=f"Give host:port with a port from 0 to {PORT_MAX}, e.g. 127.0.0.1:50051",
        )
