"""Hold clients to their limits: rates and daily quotas, exact over all processes of a machine.

The counts stand in a small mapped file of fixed records. Each call is counted under a file lock:
exact even when a process is killed. A machine that loses its power loses the last half minute.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from numroute.errors import QuotaExceededError, SettingError
from numroute.files import Watched
from numroute.server.auth import Client, ClientTable
from numroute.server.guard import Call, Guard

FILE_NAME = "usage-v1.bin"
"""The file in the state folder; another layout would get another name."""

CLIENTS_MAX = 4_096
"""How many clients with limits are counted; a client that has not asked since yesterday makes
room."""

SECONDS_PER_DAY = 86_400

_RECORD = struct.Struct("<32sddqq")
# SHA-256 of the client's name; level of its bucket in numbers, and the time of that level; a day
# since the epoch, and how many numbers the client was given on that day.


class Quota(Guard):
    """A guard that counts the numbers that clients ask for, and refuses those above a limit.

    Each process opens its own: the lock is that of the open file. Not for several threads at once.

    The bucket of a client holds at most ``burst`` numbers and gains ``rate`` a second. A request is
    admitted when the bucket holds as many numbers as it asks for, or is full; it may fall below
    zero by that: a request larger than the burst is paid for by waiting after it.
    """

    def __init__(self, clients: Watched[ClientTable], folder: Path) -> None:
        """Apply the clients' current limits; open the counts in a folder, or create them there.

        Raises SettingError.
        """
        self._clients = clients
        path = folder / FILE_NAME
        size = _RECORD.size * CLIENTS_MAX
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # All blocks now: writing to one that a mapped file lacks, with the disk full, ends the
            # process (SIGBUS). Locked, because a C library whose file system cannot reserve blocks
            # rewrites each block with the content it has just read.
            with self._locked():
                os.posix_fallocate(self._file, 0, size)
            self._records = mmap.mmap(self._file, size)
        except OSError as error:
            raise SettingError(
                f"{path}: the use of quotas cannot be counted: {error.strerror}",
                hint="Give a folder with --state that the service may write to, with "
                f"{size // 1024} KiB of room",
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._records.close()
        os.close(self._file)

    def numbers(self, call: Call, count: int) -> None:
        """Count numbers, or refuse them; a call without numbers counts as one."""
        client = self._clients.content.clients.get(call.client)
        if client is not None and client.limited:
            self.take(call.client, client, max(1, count))

    def take(self, name: str, client: Client, count: int) -> None:
        """Count numbers for a client, or refuse them with QuotaExceededError, uncounted."""
        with self._locked():
            now = time.time()
            place = self._place(name, now)
            digest, level, at, day, used = self._read(place, now)
            if client.daily is not None and used + count > client.daily:
                midnight = (now // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY
                until = datetime.fromtimestamp(midnight, UTC).isoformat()
                raise QuotaExceededError(
                    f"client {name} may ask for {client.daily:,} numbers a day; "
                    f"{max(0, client.daily - used):,} are left, and the request has {count:,}",
                    reason="daily_quota",
                    retry_after_seconds=midnight - now,
                    hint=f"The next day begins at {until}",
                )
            if client.rate is not None and client.burst is not None:
                # A clock that was set back neither fills the bucket nor empties it.
                level = min(client.burst, level + max(0.0, now - at) * client.rate)
                missing = min(count, client.burst) - level
                if missing > 0:
                    # Else a client would wait until a clock that was set back is where it was.
                    _RECORD.pack_into(self._records, place, digest, level, now, day, used)
                    seconds = missing / client.rate
                    raise QuotaExceededError(
                        f"client {name} may ask for {client.rate:,} numbers a second",
                        reason="rate",
                        retry_after_seconds=seconds,
                        hint=f"Ask again in {seconds:.3f} s",
                    )
                level -= count
            _RECORD.pack_into(self._records, place, digest, level, now, day, used + count)

    def used_today(self, name: str) -> int:
        """Return how many numbers a client was given since midnight UTC."""
        with self._locked():
            now = time.time()
            return self._read(self._place(name, now), now)[-1]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _read(self, place: int, now: float) -> tuple[bytes, float, float, int, int]:
        """Return a record; what was used on another day no longer counts.

        A count of tomorrow does: a clock that is set back by a day and forward again must not grant
        the daily quota a second time. One further ahead comes from a wrong clock.
        """
        digest, level, at, day, used = _RECORD.unpack_from(self._records, place)
        today = int(now // SECONDS_PER_DAY)
        if day not in {today, today + 1}:
            day, used = today, 0
        return digest, level, at, day, used

    def _place(self, name: str, now: float) -> int:
        """Return the place of a client's record; a new client's bucket is full."""
        digest = hashlib.sha256(name.encode()).digest()
        place = self._records.find(digest)
        if place >= 0:
            return place
        today = int(now // SECONDS_PER_DAY)
        for place in range(0, len(self._records), _RECORD.size):
            taken, _, _, day, _ = _RECORD.unpack_from(self._records, place)
            if not any(taken) or day < today - 1:
                _RECORD.pack_into(self._records, place, digest, float("inf"), now, today, 0)
                return place
        raise QuotaExceededError(
            f"more than {CLIENTS_MAX:,} clients with limits have asked since yesterday",
            reason="too_many_clients",
            retry_after_seconds=SECONDS_PER_DAY - now % SECONDS_PER_DAY,
            hint="Tell the service's operators to limit fewer clients",
        )
