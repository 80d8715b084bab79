"""The standard services: health and reflection."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from numroute.server.health import Health

SERVICE = "numroute.v1.NumberRouting"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.mark.parametrize("name", ["", SERVICE])
def test_health_of_the_server_and_of_the_service(server, name) -> None:
    """Both names are SERVING while there is a snapshot."""
    stub = health_pb2_grpc.HealthStub(server.channel)
    assert stub.Check(health_pb2.HealthCheckRequest(service=name)).status == SERVING


def test_health_of_an_unknown_service(server) -> None:
    """Another name is NOT_FOUND for a check and SERVICE_UNKNOWN for a watch."""
    stub = health_pb2_grpc.HealthStub(server.channel)
    request = health_pb2.HealthCheckRequest(service="numroute.v9.Other")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(request)
    # It ends, so that the service keeps nothing of the request.
    assert [response.status for response in watch] == [UNKNOWN]


async def test_watch_reports_every_change() -> None:
    """A watch reports the state at its start and each change, and ends with the drain."""
    health = Health()
    reported: asyncio.Queue[int] = asyncio.Queue()

    class Context:
        """Takes what the watch writes."""

        async def write(self, response: health_pb2.HealthCheckResponse) -> None:
            await reported.put(response.status)

    watch = asyncio.create_task(
        health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), Context())
    )
    assert await reported.get() == NOT_SERVING
    health.set_unready("")
    assert await reported.get() == SERVING
    health.drain()
    assert await reported.get() == NOT_SERVING
    health.set_unready("")
    await watch
    assert reported.empty()


def test_reflection_lists_the_services(server) -> None:
    """Tools such as grpcurl find the service and its messages without the proto file."""
    database = ProtoReflectionDescriptorDatabase(server.channel)
    assert set(database.get_services()) == {
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    file = database.FindFileContainingSymbol(SERVICE)
    assert [method.name for method in file.service[0].method] == [
        "Lookup",
        "BulkLookup",
        "StreamLookup",
        "Explain",
        "GetSnapshot",
        "WatchSnapshots",
        "ListOperators",
    ]
