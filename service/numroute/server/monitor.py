"""One HTTP address for all workers: metrics for Prometheus, liveness and readiness for probes."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from numroute.errors import SettingError
from numroute.logs import fault_fields
from numroute.server.exposition import Exposition

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from numroute.server.settings import ServerSettings
    from numroute.server.totals import Totals

REQUEST_SECONDS_MAX = 10.0
"""How long a connection may take to say what it wants."""

CONNECTIONS_MAX = 32
"""How many connections are held at once. One more closes the oldest: an answer takes milliseconds,
so that only a client that says nothing, or next to nothing, gets to be the oldest."""


class Monitor:
    """Answers ``/metrics``, ``/livez`` and ``/readyz`` in threads of its own.

    Attributes:
        address: Where it listens, with the port that the system chose where 0 was asked for.
    """

    def __init__(self, settings: ServerSettings, totals: Totals, log: FilteringBoundLogger) -> None:
        """Listen on the address of ``settings.metrics``.

        Raises:
            SettingError: The address cannot be listened on.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Exposition(settings, totals))
        handler = type(
            "Handler", (_Handler,), {"registry": registry, "totals": totals, "_log": log}
        )
        host, _, port = (settings.metrics or "").rpartition(":")
        try:
            self._server = _Server((host.strip("[]"), int(port)), handler)
        except OSError as error:
            raise SettingError(
                f"cannot listen on {settings.metrics} for metrics: {error.strerror}",
                hint="Stop what listens there, or choose another address with --metrics",
            ) from None
        self.address = f"{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="monitor")
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # A second service on the address must be told, and a restart must not wait.
    allow_reuse_address = True
    allow_reuse_port = False
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._lock = threading.Lock()
        # In the order in which they came.
        self._held: dict[Any, None] = {}
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as there
        """Answer in a thread; where there is no room for one more, the oldest makes it."""
        with self._lock:
            self._held[request] = None
            oldest = next(iter(self._held)) if len(self._held) > CONNECTIONS_MAX else None
            if oldest is not None:
                del self._held[oldest]
        if oldest is not None:
            # Its thread ends with it.
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._held.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Say nothing of connections that break: whoever probes tries again."""


class _Handler(http.server.BaseHTTPRequestHandler):
    registry: CollectorRegistry
    totals: Totals
    _log: FilteringBoundLogger
    timeout = REQUEST_SECONDS_MAX
    server_version = "numroute"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        try:
            match self.path.partition("?")[0]:
                case "/metrics":
                    encode, kind = choose_encoder(self.headers.get("Accept", ""))
                    self._send(HTTPStatus.OK, kind, encode(self.registry))
                case "/livez":
                    self._send_state(_silent_workers(self.totals))
                case "/readyz":
                    self._send_state(_unready_reasons(self.totals))
                case _:
                    self._send(
                        HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /livez and /readyz\n"
                    )
        except (ConnectionError, TimeoutError):
            # Whoever asked has gone, or does not read.
            self.close_connection = True
        except Exception as fault:  # noqa: BLE001 - a fault here must not end the answering
            self._log.error("metrics failed", **fault_fields(fault))
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"see the log\n")

    def do_HEAD(self) -> None:
        """Answer with the status and the headers alone, as some load balancers ask for."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
        """Log no requests."""

    def _send_state(self, problems: list[str]) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        body = json.dumps({"ok": not problems, "problems": problems}) + "\n"
        self._send(status, "application/json", body.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _silent_workers(totals: Totals) -> list[str]:
    """Return why the service should be started again: all of its workers are stuck.

    That there is none at all is for the supervisor to mend, and it gives up by itself.
    """
    _, workers = totals.read()
    silent = [each for each in workers if each.silent]
    if workers and len(silent) == len(workers):
        return [f"worker {each.worker} has been silent for too long" for each in silent]
    return []


def _unready_reasons(totals: Totals) -> list[str]:
    """Return why the service should get no calls: none of its workers would answer."""
    _, workers = totals.read()
    if not workers:
        return ["no worker serves"]
    problems = [each.problem for each in workers]
    if not all(problems):
        return []
    return [f"worker {each.worker}: {why}" for each, why in zip(workers, problems, strict=True)]
