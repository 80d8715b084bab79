"""numroute: who serves this phone number now."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numroute import client, errors
    from numroute.client import AsyncClient, Client, Security
    from numroute.errors import NumrouteError, ServiceError, SettingError
    from numroute.local import open_store
    from numroute.model import Status

_MODULES = {
    "AsyncClient": "client",
    "Client": "client",
    "NumrouteError": "errors",
    "Security": "client",
    "ServiceError": "errors",
    "SettingError": "errors",
    "Status": "model",
    "open_store": "local",
}
__all__ = [
    "AsyncClient",
    "Client",
    "NumrouteError",
    "Security",
    "ServiceError",
    "SettingError",
    "Status",
    "client",
    "errors",
    "open_store",
]


def __getattr__(name: str) -> object:
    """Load what is public when it is first asked for: the index needs more than the client."""
    if name in __all__:
        # Not `from numroute import ...`, which would ask here for it.
        try:
            module = importlib.import_module(f"numroute.{_MODULES.get(name, name)}")
        except ModuleNotFoundError as error:
            from numroute.entry import missing  # noqa: PLC0415 - seldom needed

            raise missing(f"numroute.{name}", error, extra="service") from None
        return getattr(module, name) if name in _MODULES else module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return __all__
