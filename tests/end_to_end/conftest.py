"""The shared service and the ways to run others."""

from __future__ import annotations

from support.services import gate, registry, run_server, server, store

__all__ = ["gate", "registry", "run_server", "server", "store"]
