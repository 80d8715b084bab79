"""The clients that a service knows: of a file, read again when it changes, and of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.errors import InputError, NumrouteError, SettingError
from numroute.files import file_state, read_private_file
from numroute.logs import error_fields
from numroute.server.tokens import ClientTable, parse_clients

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from numroute.server.security import Security

LINES_VARIABLE = "NUMROUTE_TOKEN_LINES"
"""What error texts call the lines that no file holds."""


class Clients:
    """The clients of the tokens file and of the settings; a changed file is read again."""

    def __init__(self, security: Security, log: FilteringBoundLogger) -> None:
        """Read the file.

        Raises:
            SettingError: It cannot be read, others can read it, or a client has a limit and there
                is no folder to count in.
            InputError: A line is not understood.
        """
        self._path = security.tokens
        self._counts_usage = security.state is not None
        self._lines = security.token_lines
        self._log = log
        self._state = None if self._path is None else file_state(self._path)
        self._refusal = ""
        self.table = self._read()

    def poll(self) -> None:
        """Take over a changed file if it is right; else keep the clients and log why."""
        if self._path is None:
            return
        state = file_state(self._path)
        if state == self._state and not self._refusal:
            return
        self._state = state
        try:
            table = self._read()
        except NumrouteError as error:
            if self._refusal != str(error):
                self._refusal = str(error)
                self._log.error("tokens refused", **error_fields(error))
            return
        self._refusal = ""
        self.table = table
        self._log.info("tokens in use", clients=len(table.clients), tokens=table.token_count)

    def _read(self) -> ClientTable:
        table = read_clients(self._path, self._lines)
        limited = next((each for each in table.clients.values() if each.limits.any), None)
        if limited is not None and not self._counts_usage:
            raise SettingError(
                f"client {limited.name} has a limit, and there is no folder to count in",
                hint="Give one with --state that survives a restart",
            )
        return table


def read_clients(path: Path | None, lines: str) -> ClientTable:
    """Return the clients of a file and of further lines.

    Raises:
        SettingError: The file cannot be read, or others can read it.
        InputError: A line is not understood, or the two contradict each other.
    """
    text = ""
    if path is not None:
        try:
            text = read_private_file(path, "the tokens file").decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(path, "the text is not UTF-8", hint="Is it a tokens file?") from None
    # A variable that cannot hold line ends uses semicolons.
    further = lines.replace(";", "\n")
    if further.strip():
        parse_clients(further, LINES_VARIABLE)
        text = f"{text}\n{further}"
    return parse_clients(text, path if path is not None else LINES_VARIABLE)
