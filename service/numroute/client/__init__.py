"""The Python client of the service. It needs grpcio, protobuf and numpy, nothing else."""

from numroute.client.aio import AsyncClient
from numroute.client.answers import (
    BulkAnswer,
    Explanation,
    LayerInfo,
    NumberAnswer,
    OperatorInfo,
    SnapshotChanges,
    SnapshotInfo,
    SnapshotNews,
    SourceInfo,
)
from numroute.client.coalescing import Coalescing
from numroute.client.security import Security
from numroute.client.sync import Client
from numroute.model import Answer

__all__ = [
    "Answer",
    "AsyncClient",
    "BulkAnswer",
    "Client",
    "Coalescing",
    "Explanation",
    "LayerInfo",
    "NumberAnswer",
    "OperatorInfo",
    "Security",
    "SnapshotChanges",
    "SnapshotInfo",
    "SnapshotNews",
    "SourceInfo",
]
