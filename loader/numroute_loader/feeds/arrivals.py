"""What has arrived and can be trusted to be whole: from a source's listing into the spool."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from numroute.errors import FeedError, InputError
from numroute.feed import Quarantined, Waiting
from numroute_loader.feeds.backoff import Backoff
from numroute_loader.feeds.options import FUTURE_MAX, RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX
from numroute_loader.feeds.order import obsolete, wanted
from numroute_loader.feeds.status import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger

    from numroute_loader.feeds.layout import DeliveredFile, FeedLayout
    from numroute_loader.feeds.options import WatchOptions
    from numroute_loader.feeds.order import Marks
    from numroute_loader.feeds.source import RemoteFile, Session, Source
    from numroute_loader.feeds.spool import Spool
    from numroute_loader.feeds.status import Status
    from numroute_loader.feeds.stopping import Stopping


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Since when a delivery has been as it is, by this process's own clock."""

    identity: str
    since: float
    noticed_at: datetime
    settled: bool = False


class Arrivals:
    """Fetches what is worth fetching, once it is no longer being uploaded."""

    def __init__(
        self,
        layout: FeedLayout,
        options: WatchOptions,
        spool: Spool,
        status: Status,
        log: FilteringBoundLogger,
        stop: Stopping,
    ) -> None:
        """Begin with nothing seen."""
        self._layout = layout
        self._options = options
        self._spool = spool
        self._status = status
        self._log = log
        self._stop = stop
        self._seen: dict[str, _Seen] = {}
        self._retry = Backoff(first_seconds=RETRY_SECONDS_FIRST, max_seconds=RETRY_SECONDS_MAX)
        self.unsettled: list[Waiting] = []
        self.unconsumed: FeedError | None = None
        self.listed: dict[str, DeliveredFile] = {}

    def fetch(self, session: Session, marks: Marks) -> None:
        """List the source and fetch what has settled.

        ``listed`` then holds the registry's files that lie there, ``unsettled`` those that are
        still being uploaded. Raises FeedError, and StoreAccessError when the spool's disk refuses.
        """
        remote = _newest_of_each_name(session.listing())
        self._status.set(polled_at=now())
        self._observe(remote)
        parsed = {name: self._layout.parse(name) for name in remote}
        self.listed = {name: file for name, file in parsed.items() if file is not None}
        self.unsettled = []
        chosen = wanted(
            [each for each in self.listed.values() if self._is_of_the_past(each)],
            marks,
            self._layout,
            refused={name for entry in self._status.state.refused for name in entry.names},
        )
        deliveries = [
            remote[file.name] for file in sorted(chosen, key=lambda file: (file.time, file.name))
        ]
        self._spool.keep_incoming(deliveries)
        for delivery in deliveries:
            self._stop.check()
            if not self._spool.holds(delivery) and self._may_fetch(delivery):
                self._fetch_one(session, delivery)

    def spooled(self) -> list[DeliveredFile]:
        """Return the files that lie whole in the spool."""
        return self._parsed(self._spool.names())

    def clear(self, marks: Marks, source: Source) -> None:
        """Remove what a published snapshot has made useless; from the source too, if told to.

        ``unconsumed`` then tells why the source kept one of its files.
        """
        aside = self._parsed(entry.name for entry in self._status.state.quarantined)
        gone = {
            file.name
            for files in (self.spooled(), aside)
            for file in obsolete(files, marks, self._layout)
        }
        self._spool.remove(gone)
        self._status.forget(gone)
        if self._options.consume:
            self._consume(marks, source)

    def unusable(self, name: str, identity: str, reason: str) -> None:
        """Put a file aside that turned out to be unusable, and remember why."""
        before = self._status.quarantined(name)
        tries = before.tries + 1 if before is not None and before.identity == identity else 1
        at = now()
        entry = Quarantined(
            name=name,
            identity=identity,
            reason=reason,
            at=at,
            tries=tries,
            retry_at=at + timedelta(seconds=self._retry.seconds(tries)),
        )
        self._status.set_quarantined(entry)
        self._log.warning(
            "file quarantined",
            file=name,
            reason=reason,
            tries=tries,
            retry_at=entry.retry_at.isoformat(),
        )

    def _parsed(self, names: Iterable[str]) -> list[DeliveredFile]:
        parsed = (self._layout.parse(name) for name in names)
        return [file for file in parsed if file is not None]

    def _consume(self, marks: Marks, source: Source) -> None:
        self.unconsumed = None
        known = [file for file in self.listed.values() if self._is_of_the_past(file)]
        for file in obsolete(known, marks, self._layout):
            if not self._has_settled(file.name):
                continue
            try:
                source.discard(file.name)
            except FeedError as error:
                # What is left lying there must not keep what follows from being applied.
                self.unconsumed = error
            else:
                self._log.info("file consumed", file=file.name)

    def _observe(self, remote: dict[str, RemoteFile]) -> None:
        """Compare the listing with earlier ones: only two looks tell that a file rests."""
        clock = time.monotonic()
        seen = {}
        for name, file in remote.items():
            before = self._seen.get(name)
            if before is None or before.identity != file.identity:
                seen[name] = _Seen(identity=file.identity, since=clock, noticed_at=now())
            else:
                rests = clock - before.since >= self._options.settle_seconds
                seen[name] = replace(before, settled=rests)
        self._seen = seen

    def _has_settled(self, name: str) -> bool:
        return name in self._seen and self._seen[name].settled

    def _may_fetch(self, file: RemoteFile) -> bool:
        bad = self._status.quarantined(file.name)
        if bad is not None and bad.identity == file.identity and now() < bad.retry_at:
            return False
        if self._has_settled(file.name):
            return True
        self.unsettled.append(
            Waiting(
                name=file.name,
                reason="its size or time may still change: it is being uploaded",
                since=self._seen[file.name].noticed_at,
            )
        )
        return False

    def _fetch_one(self, session: Session, file: RemoteFile) -> None:
        path = self._spool.incoming(file)
        try:
            session.fetch(file, path)
        except InputError as error:
            self.unusable(file.name, file.identity, error.reason)
            return
        try:
            self._spool.accept(file)
        except InputError as error:
            self._spool.quarantine(file.name, path)
            self.unusable(file.name, file.identity, error.reason)
            return
        self._status.forget({file.name})
        self._log.info("file fetched", file=file.name, bytes=file.size)

    def _is_of_the_past(self, file: DeliveredFile) -> bool:
        if file.time <= now() + FUTURE_MAX:
            return True
        self.unsettled.append(
            Waiting(
                name=file.name,
                reason="its name states a time in the future: is the clock right?",
                since=self._seen[file.name].noticed_at,
            )
        )
        return False


def _newest_of_each_name(files: Sequence[RemoteFile]) -> dict[str, RemoteFile]:
    """Return the files by name; of a name that lies in several folders, the latest."""
    return {file.name: file for file in sorted(files, key=lambda file: file.mtime_ns)}
