"""The Python client of the service; it needs only grpcio, protobuf and numpy.

Calls raise ``ServiceError`` when the service was not reached or did not answer, with the gRPC
status name as ``code`` and advice as ``hint``; ``SettingError`` for a wrong address, certificate or
token; and ``TypeError`` or ``ValueError`` for wrong arguments, before anything is sent.
"""

import os

# Errors say what gRPC would log to standard error; set the variable to see it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from numroute.client.aio import AsyncClient
from numroute.client.coalescing import Coalescing
from numroute.client.messages import BulkAnswer
from numroute.client.security import Security
from numroute.client.sync import Client
from numroute.errors import ServiceError, SettingError
from numroute.model import (
    Answer,
    Changes,
    Explanation,
    Layer,
    NumberAnswer,
    OperatorInfo,
    SnapshotInfo,
    SnapshotNews,
    Source,
)

__all__ = [
    "Answer",
    "AsyncClient",
    "BulkAnswer",
    "Changes",
    "Client",
    "Coalescing",
    "Explanation",
    "Layer",
    "NumberAnswer",
    "OperatorInfo",
    "Security",
    "ServiceError",
    "SettingError",
    "SnapshotInfo",
    "SnapshotNews",
    "Source",
]
