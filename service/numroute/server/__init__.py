"""The gRPC service: a supervisor and its worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ServerSettings", "serve"]


def serve(settings: ServerSettings, *, on_ready: Callable[[int], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; return the process's exit code.

    Nothing is printed; events are logged on standard error. Call it in the main thread.

    Args:
        settings: The settings of the service.
        on_ready: Called with the port once all worker processes answer calls.

    Raises:
        StoreMissingError: There is no store at the path.
        SettingError: An address cannot be listened on, e.g. because the port is in use, or the
            workers refuse the settings, e.g. because a certificate is not valid.
        WorkerError: The worker processes die as often as they are started.
    """
    from numroute.server.supervisor import supervise  # noqa: PLC0415 - lmdb, only to serve

    return supervise(settings, on_ready=on_ready)
