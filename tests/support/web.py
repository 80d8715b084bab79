"""A running web service, and requests to it as any HTTP client would send them."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xlsxwriter

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = (sys.executable, "-c", "from numroute.entry import main; main()", "web")


RNG = np.random.default_rng(5)
ROWS = [
    [f"Клиент {i}", f"+7916{number:07}"] for i, number in enumerate(RNG.integers(0, 10**7, 400))
]


@dataclass(frozen=True)
class Answer:
    """What the service answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The last word of a problem's type."""
        assert self.headers["content-type"] == "application/problem+json", self
        assert self.json["status"] == self.status
        return self.json["type"].rpartition(":")[2]


class Web:
    """A web service in a process of its own."""

    def __init__(self, folder: Path, *options: object) -> None:
        """Start it and wait until it answers."""
        self.log_path = folder / f"log-{len(list(folder.glob('log-*')))}"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "--listen", "127.0.0.1:0", *map(str, options)],
                stderr=log,
                start_new_session=True,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT / "web")},
            )
        while not (line := self.find_log("web serving")):
            assert self.process.poll() is None, self.log_path.read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        self.port: int = line["port"]

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}"

    def find_log(self, event: str) -> dict[str, Any] | None:
        """Return the first log line of an event."""
        lines = self.log_path.read_text("utf-8").splitlines()
        parsed = [json.loads(line) for line in lines if line.startswith("{")]
        return next((line for line in parsed if line["event"] == event), None)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        token: str = "",
        **headers: str,
    ) -> Answer:
        """Send a request; a dict is sent as JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        if token:
            sent["authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())

    def get(self, path: str, **options: Any) -> Answer:
        """Send a GET request."""
        return self.ask("GET", path, **options)

    def post(self, path: str, body: bytes | dict[str, Any] | None = None, **options: Any) -> Answer:
        """Send a POST request."""
        return self.ask("POST", path, body, **options)

    def kill(self) -> None:
        """End it and its workers at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass(frozen=True)
class Tokens:
    """A tokens file, the folder in which limits are counted, and the clients' tokens."""

    file: Path
    state: Path
    crm: str
    erp: str
    limited: str

    @property
    def options(self) -> tuple[object, ...]:
        """The options by which the service knows these clients."""
        return "--tokens", self.file, "--state", self.state


@contextlib.contextmanager
def running(folder: Path, *options: object) -> Iterator[Web]:
    """Run a web service until the block ends."""
    web = Web(folder, *options)
    try:
        yield web
    finally:
        web.kill()


def xlsx() -> bytes:
    """Return the list as a workbook."""
    sink = io.BytesIO()
    with xlsxwriter.Workbook(sink) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["имя", "телефон"])
        for i, row in enumerate(ROWS, 1):
            sheet.write_row(i, 0, row)
    return sink.getvalue()
