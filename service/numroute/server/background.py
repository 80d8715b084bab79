"""What goes wrong on the event loop where nobody waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from numroute.logs import fault_fields

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def log_background_faults(log: FilteringBoundLogger) -> None:
    """Have the running loop log such faults in a line of ours, without their texts.

    By itself asyncio writes a traceback to standard error, with whatever a client has sent.
    """

    def tell(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fault: BaseException | None = context.get("exception")
        # Without an exception it is a text of asyncio's own, e.g. that a task was left behind.
        fields = {"fault": context["message"]} if fault is None else fault_fields(fault)
        log.error("background fault", **fields)

    asyncio.get_running_loop().set_exception_handler(tell)
