"""What is watched over all workers of a service together: their counts, metrics and the audit."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from numroute.server.audit import Audit
from numroute.server.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import FilteringBoundLogger

    from numroute.server.settings import ServerSettings


@contextlib.contextmanager
def observed(settings: ServerSettings, log: FilteringBoundLogger) -> Iterator[ServerSettings]:
    """Watch over the workers until the block ends, which is after the last of them.

    Yields the settings for the workers: with the folder that they report to, if anybody reads it.

    Raises:
        SettingError: The address of the metrics cannot be listened on.
    """
    if settings.metrics is None and not settings.security.tells_clients_apart:
        yield settings
        return
    with contextlib.ExitStack() as stack:
        # Named like no other, and readable by this user only.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="numroute-")))
        totals = Totals(folder)
        if settings.metrics is not None:
            from numroute.server.monitor import Monitor  # noqa: PLC0415 - only with metrics

            monitor = Monitor(settings, totals, log)
            stack.callback(monitor.close)
            log.info("metrics served", address=monitor.address)
        if settings.security.tells_clients_apart:
            stack.callback(Audit(totals, log).close)
        yield dataclasses.replace(settings, reports=folder)
