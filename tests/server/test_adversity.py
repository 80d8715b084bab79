"""A service that runs out of files, loses its store, or meets clients that only half play along."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from support.oracle import FIRST, make_registry, publish

from numroute.index import SnapshotStore
from numroute.v1 import number_routing_pb2 as pb

FILES = 96
"""As many files as the service of a test may open."""

FEW_FILES = f"""
import resource

resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
"""
BATCH = pb.BulkLookupRequest(numbers=[FIRST] * 10).SerializeToString()


@pytest.fixture
def own_store(tmp_path: Path) -> SnapshotStore:
    """Return a store of the test's own with one snapshot."""
    store = SnapshotStore(tmp_path / "store", create=True)
    publish(store, make_registry(0))
    return store


def answers(target: str, timeout: float = 20.0) -> bool:
    """Return whether a new connection is answered."""
    with grpc.insecure_channel(
        target, options=(("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
    ) as channel:
        try:
            response = channel.unary_unary("/numroute.v1.NumberRouting/BulkLookup")(
                BATCH, timeout=timeout, wait_for_ready=True
            )
        except grpc.RpcError:
            return False
    return len(pb.BulkLookupResponse.FromString(response).route_indexes) == 10


class Peer:
    """A client on the level of HTTP/2 that does only what it is told."""

    def __init__(self, port: int, *, window: int = 65_535) -> None:
        """Connect; ``window`` is how many bytes of a stream it lets come."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.local_settings.initial_window_size = window
        self._h2.initiate_connection()
        self._send()

    def begin(self, method: str) -> int:
        """Begin a call and return its stream."""
        stream = self._h2.get_next_available_stream_id()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": f"/numroute.v1.NumberRouting/{method}",
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        self._h2.send_headers(stream, list(headers.items()))
        self._send()
        return stream

    def ask(self, stream: int, message: bytes, *, last: bool = False) -> None:
        """Send a message that fits the window, and with ``last`` close this half of the stream."""
        frame = b"\0" + len(message).to_bytes(4, "big") + message
        self._h2.send_data(stream, frame, end_stream=last)
        self._send()

    def events(self) -> Iterator[h2.events.Event]:
        """Yield what comes until the service closes the connection."""
        while data := self.socket.recv(65_536):
            yield from self._h2.receive_data(data)
            self._send()

    def _send(self) -> None:
        self.socket.sendall(self._h2.data_to_send())


def test_files_run_out_and_come_back(run_server, own_store) -> None:
    """Without files left, open connections are answered on, and new ones once there are some."""
    server = run_server(own_store.path, before=FEW_FILES)
    server.call("BulkLookup", BATCH)
    with contextlib.ExitStack() as stack:
        for _ in range(2 * FILES):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        said = server.wait_for_log("snapshot refused")[0]
        assert "Too many open files" in said["reason"]
        server.call("BulkLookup", BATCH)
        newer = publish(own_store, make_registry(1))
    assert answers(server.target)
    assert server.wait_for_log("snapshot in service", 2)[-1]["snapshot"] == newer
    assert answers(server.target)


def test_a_store_that_disappears(run_server, own_store, tmp_path) -> None:
    """Answers go on from the snapshot in service; the loss is logged once, its return as well."""
    server = run_server(own_store.path)
    shutil.move(own_store.path, tmp_path / "away")
    (lost,) = server.wait_for_log("snapshot refused")
    assert lost["serving"]
    assert str(own_store.path) in str(lost)
    message = pb.BulkLookupResponse.FromString(server.call("BulkLookup", BATCH))
    assert message.snapshot.id == lost["serving"]

    # Another point in time is in the store only.
    past = pb.LookupRequest(numbers=[f"+{FIRST}"])
    past.as_of.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(grpc.RpcError) as caught:
        server.call("Lookup", past.SerializeToString())
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND}

    shutil.move(tmp_path / "away", own_store.path)
    newer = publish(own_store, make_registry(1))
    server.wait_for_log("snapshot in service", 2)
    message = pb.BulkLookupResponse.FromString(server.call("BulkLookup", BATCH))
    assert message.snapshot.id == newer
    assert len(server.wait_for_log("snapshot refused")) == 1


def test_a_store_that_cannot_be_read(run_server, own_store) -> None:
    """Where the system refuses to read the store, the line of the log says what to look at."""
    server = run_server(own_store.path)
    fresh = own_store.path / "CURRENT.new"
    fresh.symlink_to(own_store.snapshots)
    fresh.rename(own_store.pointer_path)
    (line,) = server.wait_for_log("snapshot refused")
    assert str(own_store.pointer_path) in str(line["reason"])
    assert "what the system says" in str(line["remedy"])
    assert answers(server.target)


def test_a_half_closed_stream_is_answered(server) -> None:
    """A client that has sent its last question gets all answers, then the end with OK."""
    peer = Peer(server.port)
    stream = peer.begin("StreamLookup")
    peer.ask(stream, BATCH)
    peer.ask(stream, BATCH, last=True)
    trailers: dict[bytes, bytes] = {}
    length = 0
    for event in peer.events():
        if isinstance(event, h2.events.DataReceived):
            length += len(event.data)
        elif isinstance(event, h2.events.TrailersReceived):
            trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            break
    peer.socket.close()
    assert trailers[b"grpc-status"] == b"0"
    assert length > 2 * 5


def test_half_closed_connections_leave_nothing_behind(run_server, store) -> None:
    """A connection whose client has closed its half is closed, and the service stops at once."""
    server = run_server(store.path, drain_seconds=600)
    for method in ("StreamLookup", "WatchSnapshots", "BulkLookup") * 5:
        peer = Peer(server.port)
        peer.begin(method)
        peer.socket.shutdown(socket.SHUT_WR)
        # What comes is the settings, and then the end.
        with contextlib.suppress(ConnectionError):
            while peer.socket.recv(65_536):
                pass
        peer.socket.close()
    assert answers(server.target)
    # A call that was left open would hold the stop up for ten minutes.
    assert server.stop() == 0
    assert [line for line in server.log() if line["level"] == "error"] == []


def test_clients_that_never_read(run_server, store) -> None:
    """Streams whose answers nobody takes hold nobody up, and end with the limit of the drain."""
    server = run_server(store.path, drain_seconds=0.5)
    peers = [Peer(server.port, window=0) for _ in range(50)]
    for peer in peers:
        stream = peer.begin("StreamLookup")
        for _ in range(20):
            peer.ask(stream, BATCH)
    for _ in range(20):
        assert answers(server.target)
    assert server.stop() == 0
    for peer in peers:
        peer.socket.close()
    assert [line for line in server.log() if line["level"] == "error"] == []
