"""The gRPC service."""

from numroute.server.app import serve
from numroute.server.settings import ServerSettings

__all__ = ["ServerSettings", "serve"]
