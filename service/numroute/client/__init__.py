"""The Python client of the service. It needs grpcio, protobuf and numpy, nothing else."""

from numroute.client.aio import AsyncClient
from numroute.client.answers import BulkAnswer, SnapshotInfo, SourceInfo
from numroute.client.sync import Client
from numroute.model import Answer

__all__ = ["Answer", "AsyncClient", "BulkAnswer", "Client", "SnapshotInfo", "SourceInfo"]
