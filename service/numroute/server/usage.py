"""How much each client has asked for, shared by all processes of a service on one machine.

A small mapped file of fixed records, changed under a file lock: exact across processes whatever
becomes of any of them, at the price of two system calls. The kernel writes it to disk: a process
that is killed loses nothing, a machine that loses its power the last half minute.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.errors import QuotaExceededError, SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from numroute.server.tokens import Limits

FILE_NAME = "usage-v1.bin"
"""The file in the state folder; its layout is that of its name."""

CLIENTS_MAX = 4_096
"""How many clients with limits are counted; one that has not asked since yesterday makes room."""

DAILY_QUOTA = "daily_quota"
"""The reason of a refusal for the rest of the day."""

SECONDS_PER_DAY = 86_400

AHEAD_SHARE = 32
"""The part of what is left to a client that one process may count ahead of its requests."""

_RECORD = struct.Struct("<32sddqq")
# SHA-256 of the client's name; level of its bucket in numbers, and when it was that; the day since
# the epoch, and how many numbers the client has been given on it.

_FREE = bytes(32)


class SharedUsage:
    """The counts of all clients with limits.

    Each process opens its own: the lock is that of the open file. Not for several threads at once.

    The bucket of a client holds at most ``burst`` numbers and gains ``rate`` a second. A request is
    let in when the bucket holds what it asks for, or is full; the bucket may fall below zero by
    that, so that a request larger than the burst is possible, and is paid for by waiting after it.
    """

    def __init__(self, folder: Path) -> None:
        """Open the counts in a folder, or begin them there.

        Raises:
            SettingError: They cannot be written, or there is no room for them.
        """
        path = folder / FILE_NAME
        size = _RECORD.size * CLIENTS_MAX
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # All blocks now: to write to one that a mapped file lacks, with the disk full,
                # ends the process (SIGBUS). Locked, because a C library whose file system cannot
                # reserve blocks writes to each of them what it has read there.
                fcntl.flock(self._file, fcntl.LOCK_EX)
                os.posix_fallocate(self._file, 0, size)
                fcntl.flock(self._file, fcntl.LOCK_UN)
                self._records = mmap.mmap(self._file, size)
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise SettingError(
                f"{path}: what clients have asked for cannot be counted: {error.strerror}",
                hint="Give a folder with --state that the service may write to, with "
                f"{size // 1024} KiB of room",
            ) from None
        self._places: dict[str, tuple[bytes, int]] = {}

    def close(self) -> None:
        """Close the file."""
        self._records.close()
        os.close(self._file)

    def take(self, client: str, limits: Limits, count: int, ahead: int = 0) -> int:
        """Count numbers for a client, or refuse them; what is refused is not counted.

        Args:
            client: The client's name.
            limits: What it may ask for.
            count: How many numbers it asks for now.
            ahead: How many more may be counted at once, for requests to come.

        Returns:
            How many were counted ahead: at most a small share of what is left to the client.

        Raises:
            QuotaExceededError: A limit of the client is reached; it says for how long.
        """
        if not limits.any or not count:
            return 0
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = time.time()
            digest, place = self._place(client, now)
            _, level, at, day, used = _RECORD.unpack_from(self._records, place)
            today = int(now // SECONDS_PER_DAY)
            if day != today:
                day, used = today, 0
            if limits.daily is not None and used + count > limits.daily:
                raise _daily_error(client, limits.daily, limits.daily - used, count, now)
            if limits.rate is not None and limits.burst is not None:
                # A clock that was set back gives nothing and takes nothing.
                level = min(limits.burst, level + max(0.0, now - at) * limits.rate)
                missing = min(count, limits.burst) - level
                if missing > 0:
                    if now < at:
                        # Else the client would wait until the clock is where it was.
                        _RECORD.pack_into(self._records, place, digest, level, now, day, used)
                    raise _rate_error(client, limits.rate, missing)
                level -= count
                ahead = min(ahead, int(max(0.0, level)) // AHEAD_SHARE)
            used += count
            if limits.daily is not None:
                ahead = min(ahead, (limits.daily - used) // AHEAD_SHARE)
            _RECORD.pack_into(self._records, place, digest, level - ahead, now, day, used + ahead)
            return ahead
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def give_back(self, client: str, limits: Limits, count: int, counted_at: float) -> None:
        """Take numbers off the count again that were counted at a time and never looked up."""
        if not limits.any or not count:
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = time.time()
            digest, place = self._place(client, now)
            _, level, at, day, used = _RECORD.unpack_from(self._records, place)
            # What was counted yesterday is no part of today's count.
            if day == int(counted_at // SECONDS_PER_DAY):
                used = max(0, used - count)
            # The bucket is bounded when it is asked the next time.
            _RECORD.pack_into(self._records, place, digest, level + count, at, day, used)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def used_today(self, client: str) -> int:
        """Return how many numbers a client has been given since midnight UTC."""
        fcntl.flock(self._file, fcntl.LOCK_SH)
        try:
            digest = _digest(client)
            for place in range(0, len(self._records), _RECORD.size):
                name, _, _, day, used = _RECORD.unpack_from(self._records, place)
                if name == digest:
                    return int(used) if day == int(time.time() // SECONDS_PER_DAY) else 0
            return 0
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _place(self, client: str, now: float) -> tuple[bytes, int]:
        """Return the digest of a client's name and where its record is; the lock is held."""
        known = self._places.get(client)
        if known is not None and self._records[known[1] : known[1] + len(_FREE)] == known[0]:
            return known
        digest = _digest(client)
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
            if name == _FREE:
                room = place if room is None else room
                # Records are taken from the front: behind a free one there is none.
                break
            if room is None and day < today - 1:
                room = place
        if room is None:
            raise QuotaExceededError(
                f"more than {CLIENTS_MAX:,} clients with limits have asked since yesterday",
                reason="too_many_clients",
                retry_after_seconds=SECONDS_PER_DAY - now % SECONDS_PER_DAY,
                hint="The service's operators must give limits to fewer clients",
            )
        _RECORD.pack_into(self._records, room, digest, float("inf"), now, today, 0)
        return room


def _digest(client: str) -> bytes:
    return hashlib.sha256(client.encode()).digest()


def _daily_error(client: str, daily: int, left: int, count: int, now: float) -> QuotaExceededError:
    midnight = (now // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY
    until = datetime.fromtimestamp(midnight, UTC)
    return QuotaExceededError(
        f"client {client} may ask for {daily:,} numbers a day; {max(0, left):,} are left, and the "
        f"request has {count:,}",
        reason=DAILY_QUOTA,
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
