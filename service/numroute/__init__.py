"""numroute: who serves this phone number now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numroute.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    """Load the client when it is first asked for: it needs grpcio, protobuf and numpy."""
    if name in __all__:
        from numroute import client  # noqa: PLC0415 - keeps `import numroute` cheap

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
