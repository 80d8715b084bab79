"""TLS and mutual TLS: who gets in, how certificates change, and which are refused."""

from __future__ import annotations

import io
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from support.certificates import Authority, replace
from support.servers import launch

from numroute.errors import SettingError
from numroute.logs import make_logger
from numroute.server.certificates import Certificates, load_credentials
from numroute.server.settings import Security, ServerSettings, TlsFiles
from numroute.v1 import number_routing_pb2 as pb

NOW = datetime.now(UTC)
METHOD = "/numroute.v1.NumberRouting/GetSnapshot"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "authority")


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    """Return an authority that the service does not know."""
    return Authority.make(tmp_path / "other")


def ask(channel: grpc.Channel, **options) -> pb.GetSnapshotResponse:
    """Ask for the snapshot over a connection of its own."""
    with channel:
        answer = channel.unary_unary(METHOD)(b"", timeout=10, **options)
    return pb.GetSnapshotResponse.FromString(answer)


def served_serial(port: int) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    from cryptography import x509

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw) as connection,
    ):
        return x509.load_der_x509_certificate(
            connection.getpeercert(binary_form=True)
        ).serial_number


def serial(files: TlsFiles) -> int:
    from cryptography import x509

    return x509.load_pem_x509_certificate(files.certificate.read_bytes()).serial_number


def test_tls_is_answered_and_plaintext_is_not(run_server, store, authority, other) -> None:
    """A client that trusts the authority is answered; plaintext and distrust get nowhere."""
    server = run_server(store.path, security=Security(tls=authority.issue()))
    target = f"localhost:{server.port}"
    assert ask(authority.channel(target)).snapshot.id == store.current_id()
    for channel in (other.channel(target), grpc.insecure_channel(target)):
        with pytest.raises(grpc.RpcError) as caught:
            ask(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_wants_a_certificate_of_the_client(run_server, store, authority, other) -> None:
    """With a client authority only a client with its certificate is answered."""
    security = Security(tls=authority.issue(client_ca=authority.path))
    target = f"localhost:{run_server(store.path, security=security).port}"
    assert ask(authority.channel(target, authority.issue("billing"))).snapshot.id
    for client in (None, other.issue("billing")):
        with pytest.raises(grpc.RpcError) as caught:
            ask(authority.channel(target, client))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_new_certificate_is_used_without_a_restart(run_server, store, authority) -> None:
    """New connections see the new certificate; a call of an old connection goes on."""
    files = authority.issue()
    server = run_server(store.path, security=Security(tls=files))
    old, new = serial(files), authority.issue("next")
    channel = authority.channel(f"localhost:{server.port}")
    method = channel.unary_unary(METHOD)
    method(b"", timeout=10)
    assert served_serial(server.port) == old
    expected = serial(new)
    replace(files, new)
    (line,) = server.wait_for_log("certificate in use")
    assert "CN=next" in line["subject"]
    assert served_serial(server.port) == expected
    method(b"", timeout=10)
    channel.close()


def test_a_certificate_is_handed_to_grpc_once(authority) -> None:
    """Handshakes do not parse a certificate anew that has not changed."""
    certificates = Certificates(authority.issue(), make_logger(io.StringIO()))
    assert certificates._changed_configuration() is None
    authority.issue()
    certificates.poll()
    # What has just been looked at is looked at once more before it counts.
    certificates.poll()
    assert certificates._changed_configuration() is not None
    assert certificates._changed_configuration() is None


def test_a_bad_new_certificate_leaves_the_old_one(run_server, store, authority) -> None:
    """A new certificate with another key is logged and not used; the right key mends it."""
    files = authority.issue()
    server = run_server(store.path, security=Security(tls=files))
    old, new = serial(files), authority.issue("next")
    expected = serial(new)
    new.certificate.rename(files.certificate)
    (line,) = server.wait_for_log("certificate refused")
    assert "does not belong to the certificate" in line["reason"]
    assert line["remedy"]
    assert served_serial(server.port) == old
    new.key.rename(files.key)
    server.wait_for_log("certificate in use")
    assert served_serial(server.port) == expected


def test_a_key_that_others_are_let_at(run_server, store, authority) -> None:
    """That a key in use becomes readable by others is told at once, and what to do."""
    files = authority.issue()
    server = run_server(store.path, security=Security(tls=files))
    files.key.chmod(0o644)
    (line,) = server.wait_for_log("certificate refused")
    assert "can be read or changed by others (mode 0644)" in line["reason"]
    assert "chmod 600" in line["remedy"]
    assert served_serial(server.port) == serial(files)


def test_a_client_authority_is_replaced_without_a_restart(
    run_server, store, authority, other
) -> None:
    """Clients of a second authority are let in once it stands in the file."""
    files = authority.issue(client_ca=authority.folder / "clients.pem")
    files.client_ca.write_bytes(authority.path.read_bytes())
    server = run_server(store.path, security=Security(tls=files))
    target = f"localhost:{server.port}"
    client = other.issue("billing")
    with pytest.raises(grpc.RpcError):
        ask(authority.channel(target, client))
    both = authority.folder / "both.pem"
    both.write_bytes(authority.path.read_bytes() + other.path.read_bytes())
    both.rename(files.client_ca)
    server.wait_for_log("certificate in use")
    assert ask(authority.channel(target, client)).snapshot.id
    assert ask(authority.channel(target, authority.issue("older"))).snapshot.id


def test_the_end_of_a_certificate_is_announced(run_server, store, authority) -> None:
    """A certificate that ends within two weeks is warned of at the start."""
    files = authority.issue(not_after=NOW + timedelta(days=3))
    server = run_server(store.path, security=Security(tls=files))
    (line,) = server.wait_for_log("certificate expires soon")
    assert line["level"] == "warning"
    assert line["expires"].startswith((NOW + timedelta(days=3)).date().isoformat())


def no_file(files: TlsFiles) -> None:
    files.certificate.unlink()


def no_key_file(files: TlsFiles) -> None:
    files.key.unlink()


def key_readable_by_others(files: TlsFiles) -> None:
    files.key.chmod(0o644)


def key_readable_by_group_and_writable(files: TlsFiles) -> None:
    files.key.chmod(0o660)


def no_pem(files: TlsFiles) -> None:
    files.certificate.write_bytes(b"certificate")


def key_for_certificate(files: TlsFiles) -> None:
    files.certificate.write_bytes(files.key.read_bytes())


def certificate_for_key(files: TlsFiles) -> None:
    files.key.write_bytes(files.certificate.read_bytes())


def key_of_another(files: TlsFiles) -> None:
    files.key.write_bytes(Authority.make(files.key.parent / "x").issue().key.read_bytes())


def encrypted_key(files: TlsFiles) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


def key_of_no_use(files: TlsFiles) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "service")])
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), 1, NOW - timedelta(days=1), NOW + timedelta(days=1)
    ).sign(key, None)
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def huge(files: TlsFiles) -> None:
    files.certificate.write_bytes(bytes(2_000_000))


def a_folder(files: TlsFiles) -> None:
    files.certificate.unlink()
    files.certificate.mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason", "remedy"),
    [
        (no_file, "service.pem: the certificate cannot be read: No such file", "Check the path"),
        (no_key_file, "service.key: the private key cannot be read: No such", "Check the path"),
        (key_readable_by_others, "can be read or changed by others (mode 0644)", "chmod 600"),
        (key_readable_by_group_and_writable, "by others (mode 0660)", "chmod 600"),
        (
            no_pem,
            "service.pem: the certificate is not valid PEM",
            "BEGIN CERTIFICATE",
        ),
        (
            key_for_certificate,
            "the certificate is not valid PEM",
            "BEGIN CERTIFICATE",
        ),
        (
            certificate_for_key,
            "service.key: the private key is not valid PEM",
            "BEGIN PRIVATE KEY",
        ),
        (key_of_another, "the private key does not belong to the certificate", "issued for"),
        (encrypted_key, "service.key: the private key is encrypted", "openssl pkey"),
        (key_of_no_use, "service.key: clients do not accept", "P-256 or P-384"),
        (huge, "the certificate is larger than 1,048,576 bytes", "right file"),
        (a_folder, "the certificate cannot be read: Is a directory", "Check the path"),
    ],
)
def test_wrong_files(authority, spoil, reason, remedy) -> None:
    """Each wrong file is refused with what is wrong, where, and what to do."""
    files = authority.issue()
    spoil(files)
    with pytest.raises(SettingError) as caught:
        load_credentials(files, now=NOW)
    assert reason in caught.value.message
    assert remedy in caught.value.hint
    assert "PRIVATE KEY-----\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ({"not_after": NOW - timedelta(days=1)}, "expired on"),
        ({"not_before": NOW + timedelta(days=1)}, "is not valid before"),
    ],
    ids=["expired", "not_yet_valid"],
)
def test_certificates_out_of_their_time(authority, when, reason) -> None:
    """A certificate that is not valid now is refused with its times."""
    with pytest.raises(SettingError, match=reason):
        load_credentials(authority.issue(**when), now=NOW)


def test_the_service_does_not_start_with_a_wrong_certificate(tmp_path, store, authority) -> None:
    """The error ends the start; nothing listens."""
    files = authority.issue()
    files.key.chmod(0o640 | 0o4)
    process, log_path = launch(tmp_path, store.path, security=Security(tls=files))
    with process.stdout:
        assert process.stdout.read() == ""
    assert process.wait(60) != 0
    assert "the private key can be read or changed by others" in log_path.read_text("utf-8")


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:50051"])
def test_an_open_door_must_be_asked_for(listen, authority) -> None:
    """Beyond loopback plaintext and unknown clients are refused unless allowed by name."""
    with pytest.raises(SettingError, match="plaintext would be served beyond this machine") as told:
        ServerSettings(store=Path("store"), listen=listen)
    assert "--insecure" in told.value.hint
    files = authority.issue()
    with pytest.raises(SettingError, match="anybody who reaches") as told:
        ServerSettings(store=Path("store"), listen=listen, security=Security(tls=files))
    assert "--tokens" in told.value.hint
    with_ca = TlsFiles(certificate=files.certificate, key=files.key, client_ca=authority.path)
    for security in (
        Security(insecure=True),
        Security(tls=with_ca),
        Security(tls=files, tokens=Path("tokens")),
    ):
        ServerSettings(store=Path("store"), listen=listen, security=security)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0", "127.9.9.9:1"])
def test_loopback_needs_no_leave(listen) -> None:
    """On loopback plaintext is served."""
    ServerSettings(store=Path("store"), listen=listen)


def test_reflection_is_off_beyond_loopback() -> None:
    """Reflection is offered on loopback, beyond it only when asked for."""
    assert Security().offers_reflection("127.0.0.1")
    assert not Security().offers_reflection("0.0.0.0")  # noqa: S104 - what is tested
    assert Security(reflection=True).offers_reflection("0.0.0.0")  # noqa: S104 - likewise
    assert not Security(reflection=False).offers_reflection("127.0.0.1")
