"""The Python client of the service. It needs grpcio, protobuf and numpy, nothing else."""

from numroute.client.aio import AsyncClient
from numroute.client.coalescing import Coalescing
from numroute.client.codec import BulkAnswer
from numroute.client.security import Security
from numroute.client.sync import Client
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
    "SnapshotInfo",
    "SnapshotNews",
    "Source",
]
