"""The log of a long-lived process: one line per event on standard error.

No line ever holds a phone number. Requests are not logged at all; of an unexpected exception only
the class and the place are logged, because its text may quote a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from numroute.errors import NumrouteError


class _Lines(structlog.WriteLogger):
    """Writes lines, and drops those that cannot be written, e.g. to a full disk or a closed pipe.

    Logging must never end the work that is logged.
    """

    def msg(self, message: str) -> None:
        """Write a line."""
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    debug = info = warning = error = critical = msg


def make_logger(stream: TextIO | None = None, *, level: str = "info") -> FilteringBoundLogger:
    """Return a logger that writes to ``stream``, standard error when None, from a level on.

    One JSON object a line, or columns for people when the stream is a terminal. The logger belongs
    to the caller: the process's logging is not configured.
    """
    stream = sys.stderr if stream is None else stream
    render = (
        structlog.dev.ConsoleRenderer()
        if stream.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    return logger


def error_fields(error: NumrouteError) -> Mapping[str, Any]:
    """Return an error's fields of a log line: class, reason and remedy."""
    return {"error": type(error).__name__, "reason": error.message, "remedy": error.hint}


def fault_fields(fault: BaseException) -> Mapping[str, Any]:
    """Return an unexpected exception's fields of a log line: class and places, never its text."""
    frames = traceback.extract_tb(fault.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"fault": type(fault).__name__, "places": places}


def log_loop_faults(log: FilteringBoundLogger) -> None:
    """Log exceptions that nobody awaits on the running event loop, without their texts.

    By default asyncio writes a traceback to standard error, which may hold what a client has sent.
    """

    def report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fault: BaseException | None = context.get("exception")
        # Without an exception it is a text of asyncio's own, e.g. that a task was left behind.
        fields = {"fault": context["message"]} if fault is None else fault_fields(fault)
        log.error("background fault", **fields)

    asyncio.get_running_loop().set_exception_handler(report)
