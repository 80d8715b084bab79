"""A worker process as its supervisor sees it, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import Any

from numroute.errors import SettingError
from numroute.server.worker import HINT, READY, REASON

START_SECONDS_MAX = 60.0
"""How long a worker may take from its start until it serves, a slow disk included."""


class Worker:
    """A worker process, from its start to its end.

    Attributes:
        number: Which of the workers it is, from 1; a worker that takes its place has it too.
        process: The process.
        refusal: Why it could not start, as it said itself; None if it said nothing.
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        """Watch a process that was just started."""
        self.number = number
        self.process = process
        self.refusal: SettingError | None = None
        self._ready = asyncio.Event()
        self._replaced = asyncio.Event()
        self._watching = asyncio.create_task(self._watch())

    async def serves(self) -> bool:
        """Return whether it serves, as soon as that is known."""
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait(
            {ready, self._watching},
            timeout=START_SECONDS_MAX,
            return_when=asyncio.FIRST_COMPLETED,
        )
        ready.cancel()
        return self._ready.is_set() and not self._watching.done()

    async def ended(self) -> int:
        """Wait for its end and return the exit code, negative for a signal."""
        # Others wait for the same end: one of them being cancelled must not end the watching.
        return await asyncio.shield(self._watching)

    def replaced(self) -> None:
        """Hear that another one has its place."""
        self._replaced.set()

    async def ended_or_replaced(self) -> None:
        """Wait until it has ended or another one has its place."""
        replaced = asyncio.create_task(self._replaced.wait())
        try:
            await asyncio.wait({replaced, self._watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            replaced.cancel()

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def _watch(self) -> int:
        said = self.process.stdout
        while said is not None and (line := await said.readline()):
            message: dict[str, Any] = json.loads(line)
            if message.get(READY):
                self._ready.set()
            else:
                self.refusal = SettingError(message[REASON], hint=message[HINT])
        return await self.process.wait()
