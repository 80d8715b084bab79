"""Hold clients to their limits: rates and daily quotas, exact over all processes of a machine.

The counts stand in a small mapped file of fixed records. Each call is counted under a file lock:
exact across processes even when one is killed, at the price of two system calls. The kernel writes
the file to disk: a killed process loses nothing, a machine that loses its power the last half
minute.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import time
from datetime import UTC, datetime
from pathlib import Path

from numroute.errors import QuotaExceededError, SettingError
from numroute.server.auth import Clients, Limits
from numroute.server.guard import Call, Guard

FILE_NAME = "usage-v1.bin"
"""The file in the state folder; another layout would get another name."""

CLIENTS_MAX = 4_096
"""How many clients with limits are counted; a client that has not asked since yesterday makes
room."""

SECONDS_PER_DAY = 86_400

CLOCK_DAYS_BACK_MAX = 1
"""A count of this many days ahead still holds: a clock that is set back by a day and forward again
must not grant the daily quota a second time. A count further ahead comes from a wrong clock."""

_RECORD = struct.Struct("<32sddqq")
# SHA-256 of the client's name; level of its bucket in numbers, and the time of that level; a day
# since the epoch, and how many numbers the client was given on that day.

_FREE = bytes(32)


class Quota(Guard):
    """A guard that counts the numbers that clients ask for, and refuses those above a limit."""

    def __init__(self, clients: Clients, usage: Usage) -> None:
        """Apply the clients' current limits."""
        self._clients = clients
        self._usage = usage

    def numbers(self, call: Call, count: int) -> None:
        """Count numbers, or refuse them; a call without numbers counts as one."""
        client = self._clients.table.clients.get(call.client)
        if client is not None and client.limited:
            self._usage.take(call.client, client, max(1, count))


class Usage:
    """The counts of all clients with limits.

    Each process opens its own: the lock is that of the open file. Not for several threads at once.

    The bucket of a client holds at most ``burst`` numbers and gains ``rate`` a second. A request is
    admitted when the bucket holds as many numbers as it asks for, or is full; the bucket may fall
    below zero by that, so that a request larger than the burst is possible, and is paid for by
    waiting after it.
    """

    def __init__(self, folder: Path) -> None:
        """Open the counts in a folder, or create them there.

        Raises:
            SettingError: They cannot be written, or there is no room for them.
        """
        path = folder / FILE_NAME
        size = _RECORD.size * CLIENTS_MAX
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # All blocks now: writing to one that a mapped file lacks, with the disk full, ends the
            # process (SIGBUS). Locked, because a C library whose file system cannot reserve blocks
            # rewrites each block with the content it has just read.
            fcntl.flock(self._file, fcntl.LOCK_EX)
            os.posix_fallocate(self._file, 0, size)
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._records = mmap.mmap(self._file, size)
        except OSError as error:
            raise SettingError(
                f"{path}: the use of quotas cannot be counted: {error.strerror}",
                hint="Give a folder with --state that the service may write to, with "
                f"{size // 1024} KiB of room",
            ) from None
        self._places: dict[str, tuple[bytes, int]] = {}

    def close(self) -> None:
        """Close the file."""
        self._records.close()
        os.close(self._file)

    def take(self, client: str, limits: Limits, count: int) -> None:
        """Count numbers for a client, or refuse them; refused numbers are not counted.

        Raises:
            QuotaExceededError: A limit of the client is reached; it says for how long.
        """
        if not limits.limited or not count:
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = time.time()
            digest, place = self._place(client, now)
            _, level, at, day, used = _RECORD.unpack_from(self._records, place)
            today = int(now // SECONDS_PER_DAY)
            if not today <= day <= today + CLOCK_DAYS_BACK_MAX:
                day, used = today, 0
            if limits.daily is not None and used + count > limits.daily:
                raise _daily_error(client, limits.daily, limits.daily - used, count, now)
            if limits.rate is not None and limits.burst is not None:
                # A clock that was set back neither fills the bucket nor empties it.
                level = min(limits.burst, level + max(0.0, now - at) * limits.rate)
                missing = min(count, limits.burst) - level
                if missing > 0:
                    if now < at:
                        # Else the client would wait until the clock is where it was.
                        _RECORD.pack_into(self._records, place, digest, level, now, day, used)
                    raise _rate_error(client, limits.rate, missing)
                level -= count
            _RECORD.pack_into(self._records, place, digest, level, now, day, used + count)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def used_today(self, client: str) -> int:
        """Return how many numbers a client was given since midnight UTC."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = time.time()
            _, place = self._place(client, now)
            _, _, _, day, used = _RECORD.unpack_from(self._records, place)
            today = int(now // SECONDS_PER_DAY)
            return int(used) if today <= day <= today + CLOCK_DAYS_BACK_MAX else 0
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _place(self, client: str, now: float) -> tuple[bytes, int]:
        """Return the digest of a client's name and the place of its record; the lock is held."""
        known = self._places.get(client)
        if known is not None and self._records[known[1] : known[1] + len(_FREE)] == known[0]:
            return known
        digest = hashlib.sha256(client.encode()).digest()
        place = self._find(digest, now)
        self._places[client] = digest, place
        return digest, place

    def _find(self, digest: bytes, now: float) -> int:
        """Return the place of a client's record; a new client's bucket is full."""
        today = int(now // SECONDS_PER_DAY)
        room: int | None = None
        for place in range(0, len(self._records), _RECORD.size):
            name, _, _, day, _ = _RECORD.unpack_from(self._records, place)
            if name == digest:
                return place
            if room is None and (name == _FREE or day < today - 1):
                room = place
            if name == _FREE:
                # Records are filled from the front: after a free one all are free.
                break
        if room is None:
            raise QuotaExceededError(
                f"more than {CLIENTS_MAX:,} clients with limits have asked since yesterday",
                reason="too_many_clients",
                retry_after_seconds=SECONDS_PER_DAY - now % SECONDS_PER_DAY,
                hint="Tell the service's operators to limit fewer clients",
            )
        _RECORD.pack_into(self._records, room, digest, float("inf"), now, today, 0)
        return room


def _daily_error(client: str, daily: int, left: int, count: int, now: float) -> QuotaExceededError:
    midnight = (now // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY
    until = datetime.fromtimestamp(midnight, UTC)
    return QuotaExceededError(
        f"client {client} may ask for {daily:,} numbers a day; {max(0, left):,} are left, and the "
        f"request has {count:,}",
        reason="daily_quota",
        retry_after_seconds=midnight - now,
        hint=f"The next day begins at {until.isoformat()}",
    )


def _rate_error(client: str, rate: float, missing: float) -> QuotaExceededError:
    seconds = missing / rate
    return QuotaExceededError(
        f"client {client} may ask for {rate:,.0f} numbers a second",
        reason="rate",
        retry_after_seconds=seconds,
        hint=f"Ask again in {seconds:.3f} s",
    )
