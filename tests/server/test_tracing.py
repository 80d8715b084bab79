"""Traces reach a real receiver of OTLP over gRPC."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from numroute.entry import how_to_install
from numroute.index import SnapshotStore
from numroute.v1 import number_routing_pb2 as pb

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exported(monkeypatch) -> Iterator[queue.Queue]:
    """Return a queue of what a receiver of traces gets; services started now send it theirs."""
    requests: queue.Queue = queue.Queue()

    class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
        """Takes spans."""

        def Export(self, request, _context):  # noqa: N802 - the name is the protocol's
            requests.put(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Receiver(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    yield requests
    server.stop(0).wait()


def attributes(span) -> dict[str, object]:
    return {each.key: each.value.int_value or each.value.string_value for each in span.attributes}


def test_each_call_is_a_span_in_the_clients_trace(run_server, store, exported) -> None:
    """Method, status and count of numbers are told, no number is; a failed request too."""
    server = run_server(store.path)
    request = pb.BulkLookupRequest(numbers=[79_000_123_456] * 3).SerializeToString()
    method = server.channel.unary_unary("/numroute.v1.NumberRouting/BulkLookup")
    method(request, timeout=10, metadata=(("traceparent", f"00-{TRACE}-{PARENT}-01"),))
    with pytest.raises(grpc.RpcError):
        method(b"\xff", timeout=10)
    # What is left is sent before the end.
    assert server.stop() == 0
    spans, resources = [], []
    while not exported.empty():
        message = exported.get()
        assert "123456" not in str(message)
        for group in message.resource_spans:
            resources.append(
                {each.key: each.value.string_value for each in group.resource.attributes}
            )
            spans += [span for scope in group.scope_spans for span in scope.spans]
    assert resources[0]["service.name"] == "numroute"
    asked, failed = sorted(spans, key=lambda span: span.start_time_unix_nano)
    assert asked.name == "numroute.v1.NumberRouting/BulkLookup"
    assert asked.trace_id.hex() == TRACE
    assert asked.parent_span_id.hex() == PARENT
    assert attributes(asked)["numroute.numbers"] == 3
    assert attributes(asked)["rpc.method"] == "BulkLookup"
    assert attributes(failed)["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert failed.trace_id.hex() != TRACE
    assert asked.start_time_unix_nano < asked.end_time_unix_nano


def test_our_faults_are_errors_of_their_spans(run_server, tmp_path, exported) -> None:
    """A call refused for want of a snapshot is an error of the service's, not of the client's."""
    server = run_server(SnapshotStore(tmp_path / "store", create=True).path)
    for request in (b"", b"\xff"):
        with pytest.raises(grpc.RpcError):
            server.call("BulkLookup", request)
    assert server.stop() == 0
    message = exported.get()
    spans = [span for each in message.resource_spans for span in each.scope_spans[0].spans]
    spans.sort(key=lambda span: span.start_time_unix_nano)
    error, unset = Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET
    assert [span.status.code for span in spans] == [error, unset]


def test_a_receiver_that_is_away_harms_no_call(run_server, store, monkeypatch) -> None:
    """Without a receiver calls are answered all the same."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    server = run_server(store.path)
    for _ in range(20):
        server.call("GetSnapshot", b"")


def test_a_missing_extra_is_told(run_server, store, monkeypatch) -> None:
    """Where traces are asked for and the extra is missing, the log says so and calls go on."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    hide = "import sys; sys.modules['opentelemetry'] = None"
    server = run_server(store.path, before=hide)
    (line,) = server.wait_for_log("no traces")
    assert line["remedy"] == how_to_install("otel")
    server.call("GetSnapshot", b"")
