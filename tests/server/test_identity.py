"""Who may ask: tokens and certificates at a real service, and what others are told."""

from __future__ import annotations

import queue
import time
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.certificates import Authority
from support.servers import launch

from numroute.server.auth import new_token, token_entry
from numroute.server.settings import Security
from numroute.v1 import number_routing_pb2 as pb

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
METHODS = ["Lookup", "BulkLookup", "GetSnapshot", "Explain", "ListOperators"]
STREAM_LOOKUP = "/numroute.v1.NumberRouting/StreamLookup"
WATCH_SNAPSHOTS = "/numroute.v1.NumberRouting/WatchSnapshots"
GET_SNAPSHOT = "/numroute.v1.NumberRouting/GetSnapshot"
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def write(path: Path, *lines: str) -> Path:
    """Put a tokens file in place, by a rename."""
    fresh = path.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_text("\n".join(lines), "utf-8")
    fresh.rename(path)
    return path


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def ask(server, metadata=(), method: str = "GetSnapshot") -> bytes:
    """Call a method with metadata."""
    return server.channel.unary_unary(f"/numroute.v1.NumberRouting/{method}")(
        b"", timeout=10, metadata=metadata
    )


def refusal(server, metadata=(), method: str = "GetSnapshot") -> str:
    """Return the message of a call that must be refused."""
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, metadata, method)
    assert caught.value.code() is UNAUTHENTICATED
    return caught.value.details()


def test_only_known_tokens_are_let_in(run_server, store, tmp_path) -> None:
    """Each wrong token gets its own message and one log line, and neither repeats the token."""
    (good, good_hash), (old, old_hash), (unknown, _) = new_token(), new_token(), new_token()
    path = write(
        tmp_path / "tokens", token_entry("messaging", good_hash), token_entry("old", old_hash, PAST)
    )
    server = run_server(store.path, security=Security(tokens=path))
    for method in METHODS:
        assert "there is no token" in refusal(server, (), method)
        assert "there is no token" in refusal(server, (("x-token", good),), method)
    assert "the token is unknown" in refusal(server, bearer(unknown))
    assert "the token is unknown" in refusal(server, bearer(good[:-1]))
    assert "the token of client old has expired" in refusal(server, bearer(old))
    for wrong in (f"Basic {good}", good, "Bearer", "Bearer " + "x" * 600):
        assert "not a bearer token" in refusal(server, (("authorization", wrong),))
    pb.GetSnapshotResponse.FromString(ask(server, bearer(good)))
    pb.GetSnapshotResponse.FromString(ask(server, (("authorization", f"bearer  {good} "),)))

    lines = server.wait_for_log("call refused", 4)
    assert [line["reason"] for line in lines] == [
        "no_token",
        "unknown_token",
        "expired_token",
        "malformed_token",
    ]
    assert lines[2]["client"] == "old"
    assert all(line["peer"] == "ipv4:127.0.0.1" for line in lines)
    log = server.log_path.read_text("utf-8")
    assert not any(secret[3:20] in log for secret in (good, old, unknown))


def test_refusals_of_unknown_clients_are_delayed(run_server, store, tmp_path) -> None:
    """They take little time from others, and a large request does not wait in memory."""
    path = write(tmp_path / "tokens", token_entry("messaging", new_token()[1]))
    server = run_server(
        store.path,
        security=Security(tokens=path),
        before="from numroute.server import guard; guard.UNAUTHENTICATED_SECONDS = 60.0",
    )
    look_up = server.channel.unary_unary("/numroute.v1.NumberRouting/Lookup")
    watch = server.channel.unary_stream("/numroute.v1.NumberRouting/WatchSnapshots")
    for ask in (look_up, lambda request, timeout: next(watch(request, timeout=timeout))):
        for request, status in (
            (b"", grpc.StatusCode.DEADLINE_EXCEEDED),
            (bytes(5000), UNAUTHENTICATED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                ask(request, timeout=2)
            assert caught.value.code() is status


def test_a_stream_needs_a_token_too(run_server, store, tmp_path) -> None:
    """StreamLookup and WatchSnapshots are refused without a token before they begin."""
    path = write(tmp_path / "tokens", token_entry("messaging", new_token()[1]))
    server = run_server(store.path, security=Security(tokens=path))
    prefix = "/numroute.v1.NumberRouting"
    for call in (
        server.channel.stream_stream(f"{prefix}/StreamLookup")(iter([b""]), timeout=10),
        server.channel.unary_stream(f"{prefix}/WatchSnapshots")(b"", timeout=10),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is UNAUTHENTICATED


def test_health_needs_no_token(run_server, store, tmp_path) -> None:
    """A load balancer asks for the health without a token."""
    path = write(tmp_path / "tokens", token_entry("messaging", new_token()[1]))
    server = run_server(store.path, security=Security(tokens=path))
    stub = health_pb2_grpc.HealthStub(server.channel)
    status = stub.Check(health_pb2.HealthCheckRequest()).status
    assert status == health_pb2.HealthCheckResponse.SERVING


def test_tokens_rotate_without_a_restart(run_server, store, tmp_path) -> None:
    """A new token counts once its line stands in the file, an old one until its line is gone."""
    (first, first_hash), (second, second_hash) = new_token(), new_token()
    path = write(tmp_path / "tokens", token_entry("messaging", first_hash))
    server = run_server(store.path, security=Security(tokens=path))
    ask(server, bearer(first))
    refusal(server, bearer(second))
    write(path, token_entry("messaging", first_hash), token_entry("messaging", second_hash))
    (line,) = server.wait_for_log("tokens in use")
    assert (line["clients"], line["tokens"]) == (1, 2)
    ask(server, bearer(first))
    ask(server, bearer(second))
    write(path, token_entry("messaging", second_hash))
    server.wait_for_log("tokens in use", 2)
    refusal(server, bearer(first))
    ask(server, bearer(second))


def test_a_stream_ends_with_its_token(run_server, store, tmp_path) -> None:
    """Who may ask no longer is refused at the next question of a stream that was open before."""
    (token, sha256), (_, other) = new_token(), new_token()
    path = write(
        tmp_path / "tokens", "[clients.messaging]\ndaily = 1000", token_entry("messaging", sha256)
    )
    server = run_server(store.path, security=Security(tokens=path, state=tmp_path / "state"))
    questions: queue.Queue[bytes | None] = queue.Queue()
    question = pb.BulkLookupRequest(numbers=[79_000_000_000]).SerializeToString()
    call = server.channel.stream_stream(STREAM_LOOKUP)(
        iter(questions.get, None), timeout=60, metadata=bearer(token)
    )
    questions.put(question)
    next(call)
    write(path, token_entry("billing", other))
    server.wait_for_log("tokens in use")
    questions.put(question)
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is UNAUTHENTICATED
    questions.put(None)


def test_a_watch_ends_with_its_token(run_server, store, tmp_path) -> None:
    """A client whose token is removed no longer watches snapshots, even while none changes."""
    token, sha256 = new_token()
    path = write(tmp_path / "tokens", token_entry("messaging", sha256))
    server = run_server(store.path, security=Security(tokens=path))
    call = server.channel.unary_stream(WATCH_SNAPSHOTS)(b"", timeout=60, metadata=bearer(token))
    next(call)
    write(path, token_entry("billing", new_token()[1]))
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is UNAUTHENTICATED


@pytest.mark.parametrize("how", ["nonsense", "readable", "gone"])
def test_a_wrong_file_leaves_the_clients_known_before(run_server, store, tmp_path, how) -> None:
    """A file that is not right is logged once; who was known goes on, who was not stays out."""
    token, sha256 = new_token()
    path = write(tmp_path / "tokens", token_entry("messaging", sha256))
    server = run_server(store.path, security=Security(tokens=path))
    if how == "nonsense":
        write(path, "[clients.messaging]", 'certificates = "x"')
    elif how == "readable":
        path.chmod(0o644)
    else:
        path.unlink()
    (line,) = server.wait_for_log("tokens refused")
    reason = {
        "nonsense": "tokens: clients.messaging.certificates: Expected `array`, got `str`",
        "readable": "can be read or changed by others (mode 0644)",
        "gone": "cannot be read: No such file",
    }[how]
    assert reason in line["reason"]
    assert line["remedy"]
    ask(server, bearer(token))
    refusal(server, bearer(new_token()[0]))
    time.sleep(1.2)
    assert len(server.wait_for_log("tokens refused")) == 1


def test_tokens_from_the_settings(run_server, store) -> None:
    """Lines given as a setting count like those of a file."""
    token, sha256 = new_token()
    server = run_server(
        store.path, security=Security(token_lines=f'clients.a.tokens = [{{sha256 = "{sha256}"}}]')
    )
    ask(server, bearer(token))
    refusal(server)


def test_a_certificate_names_the_client(run_server, store, tmp_path) -> None:
    """By common name or alternative name, where the tokens file maps it; a token goes before."""
    authority = Authority.make(tmp_path / "authority")
    token, sha256 = new_token()
    path = write(
        tmp_path / "tokens",
        '[clients.billing]\ncertificates = ["billing.internal"]',
        '[clients.reports]\ncertificates = ["CN of reports"]',
        token_entry("messaging", sha256),
    )
    security = Security(tls=authority.issue(client_ca=authority.path), tokens=path)
    server = run_server(store.path, security=security)

    def call(name: str, metadata=(), **options) -> None:
        target = f"localhost:{server.port}"
        with authority.channel(target, authority.issue(name, **options)) as channel:
            channel.unary_unary(GET_SNAPSHOT)(b"", timeout=10, metadata=metadata)

    call("billing.internal", common_name="whatever")
    call("reports", common_name="CN of reports")
    call("stranger", bearer(token))
    for metadata in ((), bearer(new_token()[0])):
        with pytest.raises(grpc.RpcError) as caught:
            call("stranger", metadata)
        assert caught.value.code() is UNAUTHENTICATED
    assert "the token is unknown" in caught.value.details()
    reasons = [line["reason"] for line in server.wait_for_log("call refused", 2)]
    assert reasons == ["unknown_certificate", "unknown_token"]


def test_without_tokens_the_common_name_is_the_client(run_server, store, tmp_path) -> None:
    """Whoever has a certificate of the authority is let in; one that names nobody is not."""
    authority = Authority.make(tmp_path / "authority")
    security = Security(tls=authority.issue(client_ca=authority.path))
    server = run_server(store.path, security=security)
    target = f"localhost:{server.port}"
    with authority.channel(target, authority.issue("billing")) as channel:
        channel.unary_unary(GET_SNAPSHOT)(b"", timeout=10)
    with (
        authority.channel(target, authority.issue("x", common_name="no name = client")) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary(GET_SNAPSHOT)(b"", timeout=10)
    assert caught.value.code() is UNAUTHENTICATED


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        ('[[clients.a.tokens]]\nsha256 = "short"', 0o600, "clients.a.tokens[0].sha256: Expected"),
        ("", 0o644, "the tokens file can be read or changed by others"),
        ("[clients.a]\nrate = 5", 0o600, "has a limit, and there is no folder to count in"),
    ],
    ids=["wrong_hash", "readable_by_others", "limit_without_state"],
)
def test_the_service_does_not_start_with_a_wrong_file(tmp_path, store, text, mode, reason) -> None:
    """The error ends the start; nothing listens."""
    path = write(tmp_path / "tokens", text)
    path.chmod(mode)
    process, log_path = launch(tmp_path, store.path, security=Security(tokens=path))
    with process.stdout:
        assert process.stdout.read() == ""
    assert process.wait(60) != 0
    assert reason in log_path.read_text("utf-8")
