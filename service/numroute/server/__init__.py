"""The gRPC service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ServerSettings", "serve"]


def serve(settings: ServerSettings, *, on_ready: Callable[[int], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; return the process's exit code.

    Nothing is printed; what happens is logged on standard error. Call it in the main thread.

    Args:
        settings: What to serve, where, and by how many processes.
        on_ready: Called with the port once all of them answer calls.

    Raises:
        StoreMissingError: There is no store at the path.
        SettingError: The address cannot be listened on, e.g. because the port is in use, or the
            certificate is not right.
        WorkerError: The processes die as often as they are started.
    """
    if settings.workers == 1:
        from numroute.server.app import serve_alone  # noqa: PLC0415

        return serve_alone(settings, on_ready=on_ready)
    from numroute.server.supervisor import supervise  # noqa: PLC0415

    return supervise(settings, on_ready=on_ready)
