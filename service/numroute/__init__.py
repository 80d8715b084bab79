"""numroute: who serves this phone number now."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numroute import client
    from numroute.client import AsyncClient, Client, Security

__all__ = ["AsyncClient", "Client", "Security", "client"]


def __getattr__(name: str) -> object:
    """Load the client when it is first asked for: it needs grpcio, protobuf and numpy."""
    if name in __all__:
        # Not `from numroute import client`, which would ask here for it.
        client = importlib.import_module("numroute.client")
        return client if name == "client" else getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
