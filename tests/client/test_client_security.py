"""Clients and commands that authenticate the service, and themselves to it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.certificates import Authority
from support.files import private
from support.oracle import FIRST
from support.registry import command

import numroute
from numroute.client import Security as ClientSecurity
from numroute.client.channel import parse_target
from numroute.errors import ServiceError, SettingError
from numroute.server.auth import new_token, token_entry
from numroute.server.settings import Security

SECRET = "not-to-be-shown"  # noqa: S105 - one made up


@pytest.fixture
def authority(tmp_path) -> Authority:
    """Return an authority that the service's certificate comes from."""
    return Authority.make(tmp_path / "tls")


def ask(kind: str, target: str, security: ClientSecurity) -> list[str]:
    """Ask in every way that there is; return the snapshots that answered."""
    if kind == "sync":
        with numroute.Client(target, timeout=20.0, security=security) as client:
            (streamed,) = client.stream([[FIRST]])
            return [
                client.lookup([FIRST]).snapshot.id,
                client.lookup_text([f"+{FIRST}"])[0].snapshot.id,
                client.explain(f"+{FIRST}").snapshot.id,
                client.snapshot().snapshot.id,
                next(client.watch_snapshots()).snapshot.id,
                streamed.snapshot.id,
            ]

    async def run() -> list[str]:
        async with numroute.AsyncClient(target, timeout=20.0, security=security) as client:
            streamed = [answer async for answer in client.stream([[FIRST]])]
            return [
                (await client.lookup([FIRST])).snapshot.id,
                (await client.lookup(FIRST)).snapshot.id,
                (await client.lookup_text([f"+{FIRST}"]))[0].snapshot.id,
                (await client.explain(f"+{FIRST}")).snapshot.id,
                (await client.snapshot()).snapshot.id,
                (await anext(client.watch_snapshots())).snapshot.id,
                streamed[0].snapshot.id,
            ]

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_tls_and_token(kind, run_server, store, authority, tmp_path) -> None:
    """Every call goes over TLS and carries the token; without one it is refused."""
    token, digest = new_token()
    tokens = private(tmp_path / "tokens", token_entry("worker", digest))
    server = run_server(store.path, security=Security(tls=authority.issue(), tokens=tokens))
    target = f"localhost:{server.port}"
    good = ClientSecurity(ca=authority.path, token=token)
    assert set(ask(kind, target, good)) == {store.current_id()}
    file = private(tmp_path / "token", token + "\n")
    assert ask(kind, target, ClientSecurity(ca=authority.path, token_file=file))
    unknown = new_token()[0]
    for wrong in (None, unknown):
        bad = ClientSecurity(ca=authority.path, token=wrong)
        with pytest.raises(ServiceError) as caught:
            ask(kind, target, bad)
        assert caught.value.code == "UNAUTHENTICATED"


def test_several_replicas_over_tls(run_server, store, authority) -> None:
    """A list of names is checked against the certificate's name, which may be given."""
    servers = [run_server(store.path, security=Security(tls=authority.issue())) for _ in range(2)]
    names = ",".join(f"localhost:{server.port}" for server in servers)
    addresses = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    for target, security in (
        (names, ClientSecurity(ca=authority.path)),
        (addresses, ClientSecurity(ca=authority.path, server_name="service")),
    ):
        with numroute.Client(target, timeout=20.0, security=security) as client:
            assert client.lookup([FIRST]).snapshot.id == store.current_id()


def test_mutual_tls(run_server, store, authority) -> None:
    """Where the service wants a certificate, a client shows its own."""
    service = authority.issue(client_ca=authority.path)
    server = run_server(store.path, security=Security(tls=service))
    own = authority.issue("worker")
    shown = ClientSecurity(ca=authority.path, cert=own.certificate, key=own.key)
    target = f"localhost:{server.port}"
    assert set(ask("sync", target, shown)) == {store.current_id()}
    with pytest.raises(ServiceError) as caught:
        ask("sync", target, ClientSecurity(ca=authority.path))
    assert caught.value.code == "UNAVAILABLE"


def test_another_authority_is_not_believed(run_server, store, authority, tmp_path) -> None:
    """A service whose certificate comes from another authority is not asked."""
    server = run_server(store.path, security=Security(tls=authority.issue()))
    other = Authority.make(tmp_path / "other")
    with pytest.raises(ServiceError) as caught:
        ask("sync", f"localhost:{server.port}", ClientSecurity(ca=other.path))
    assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_mistakes_of_tls_are_named(kind, run_server, store, authority, tmp_path) -> None:
    """A connection that TLS prevents is an error that says what to look at."""
    secure = run_server(store.path, security=Security(tls=authority.issue())).target
    mutual = run_server(
        store.path, security=Security(tls=authority.issue("mutual", client_ca=authority.path))
    ).target
    plain = run_server(store.path).target
    other = Authority.make(tmp_path / "other")
    foreign = other.issue("worker")
    good = ClientSecurity(ca=authority.path)
    for target, security in (
        (secure, ClientSecurity()),
        (mutual, good),
        (
            mutual,
            ClientSecurity(ca=authority.path, cert=foreign.certificate, key=foreign.key),
        ),
        (plain, good),
        (secure, ClientSecurity(ca=other.path)),
        (secure, ClientSecurity(ca=authority.path, server_name="elsewhere")),
    ):
        with pytest.raises(ServiceError, match=f"cannot reach {target}: ") as caught:
            ask(kind, target, security)
        assert caught.value.code == "UNAVAILABLE"
        assert "If it speaks TLS, give ca or tls, and cert and key" in caught.value.hint


def test_grpc_logs_nothing_beside_us(server) -> None:
    """A program that catches the error has nothing on its standard error."""
    code = f"""
import numroute
client = numroute.Client({server.target!r}, security=numroute.Security(tls=True))
try:
    client.snapshot()
except numroute.ServiceError as error:
    print(error)
"""
    env = {name: text for name, text in os.environ.items() if name != "GRPC_VERBOSITY"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env
    )
    assert f"cannot reach {server.target}" in done.stdout
    assert done.stderr == ""


def test_tokens_stay_on_this_machine_without_tls(tmp_path) -> None:
    """A token is not sent to another machine in plaintext."""
    security = ClientSecurity(token=SECRET)
    with pytest.raises(SettingError, match="plaintext"):
        numroute.Client("10.0.0.1:50051", security=security)
    numroute.Client("127.0.0.1:50051", security=security).close()
    assert SECRET not in repr(security)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cert": "a.pem"}, "needs its key"),
        ({"token": "a", "token_file": "b"}, "given twice"),
        ({"ca": "missing.pem"}, "missing.pem: the authority cannot be read"),
        ({"token_file": "missing"}, "missing: the token cannot be read"),
        ({"token": "two words"}, "is not a token"),
    ],
)
def test_wrong_settings(options, text) -> None:
    """What is missing or contradicts itself is refused with what to do."""
    with pytest.raises(SettingError, match=text):
        numroute.Client("localhost:1", security=ClientSecurity(**options))


@pytest.fixture(scope="module")
def pem(tmp_path_factory) -> Path:
    """Return a folder of PEM files, right ones and wrong ones."""
    folder = tmp_path_factory.mktemp("pem")
    authority = Authority.make(folder)
    for name in ("a", "b"):
        authority.issue(name)
    other = authority.ca.issue_cert("other", key_type=trustme.KeyType.RSA)
    (folder / "rsa.key").write_bytes(other.private_key_pem.bytes())
    key = serialization.load_pem_private_key((folder / "a.key").read_bytes(), None)
    (folder / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a passphrase"),
        )
    )
    (folder / "tokens").write_text("support 0123456789abcdef\n")
    (folder / "empty").touch()
    return folder


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"ca": "tokens"}, "tokens: the authority is not valid PEM"),
        ({"ca": "empty"}, "empty: the authority is not valid PEM"),
        ({"ca": "a.key"}, "a.key: the authority is not valid PEM"),
        ({"ca": "."}, "cannot be read: Is a directory"),
        (
            {"cert": "tokens", "key": "a.key"},
            "tokens: the certificate is not valid PEM",
        ),
        ({"cert": "a.pem", "key": "tokens"}, "tokens: the private key is not valid PEM"),
        ({"cert": "a.pem", "key": "a.pem"}, "a.pem: the private key is not valid PEM"),
        ({"cert": "a.pem", "key": "b.key"}, "b.key: the private key does not belong .*a.pem"),
        (
            {"cert": "a.pem", "key": "rsa.key"},
            "rsa.key: the private key does not belong .*a.pem",
        ),
        ({"cert": "a.pem", "key": "locked.key"}, "locked.key: the private key is encrypted"),
    ],
)
def test_wrong_pem_files(files, text, pem) -> None:
    """A file that is no PEM file of its kind, and a key of another certificate, are named."""
    paths = {"ca": pem / "ca.pem"} | {option: pem / name for option, name in files.items()}
    with pytest.raises(SettingError, match=text):
        numroute.Client("localhost:1", security=ClientSecurity(**paths))


def test_wrong_authorities_of_the_system(pem, monkeypatch) -> None:
    """A file that SSL_CERT_FILE names is looked at like one of `--ca`."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem / "tokens"))
    with pytest.raises(SettingError, match="tokens: the authority is not valid PEM"):
        numroute.Client("localhost:1", security=ClientSecurity(tls=True))


@pytest.mark.parametrize("kind", ["short", "chain", "pipe"])
def test_right_pem_files(kind, pem, tmp_path) -> None:
    """Weak keys, text around the certificates and files that are pipes are no reason to refuse."""
    cert, key = pem / "a.pem", pem / "a.key"
    if kind == "short":
        own = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "short")])
        made = (
            x509.CertificateBuilder(name, name, own.public_key(), 1)
            .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2046, 1, 1, tzinfo=UTC))
            .sign(own, hashes.SHA256())
        )
        cert, key = tmp_path / "short.pem", tmp_path / "short.key"
        cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
    elif kind == "chain":
        cert = tmp_path / "chain.pem"
        ours, authority = ((pem / each).read_text() for each in ("a.pem", "ca.pem"))
        cert.write_text(f"Мы\n{ours}\nAuthority\n{authority}")
    else:
        content = cert.read_bytes()
        cert = tmp_path / "pipe"
        os.mkfifo(cert)
        threading.Thread(target=cert.write_bytes, args=(content,), daemon=True).start()
    security = ClientSecurity(ca=pem / "ca.pem", cert=cert, key=key)
    numroute.Client("localhost:1", security=security).close()


def test_a_new_token_is_taken_from_its_file(tmp_path, monkeypatch) -> None:
    """A token file is read again when it changes; while it is gone the last token is used."""
    monkeypatch.setattr("numroute.client.security.TOKEN_CHECK_SECONDS", 0.0)
    path = private(tmp_path / "token", "first")
    metadata = ClientSecurity(token_file=path).token_metadata(loopback=True)
    assert metadata() == (("authorization", "Bearer first"),)
    private(path, "second\n")
    assert metadata() == (("authorization", "Bearer second"),)
    path.unlink()
    assert metadata() == (("authorization", "Bearer second"),)
    assert parse_target("localhost:1").loopback


def test_lists_are_routed_over_tls(run_server, store, authority, registry, tmp_path) -> None:
    """`route` asks a service over TLS, with a token, by options and by variables."""
    token, digest = new_token()
    tokens = private(tmp_path / "tokens", token_entry("campaigns", digest))
    server = run_server(store.path, security=Security(tls=authority.issue(), tokens=tokens))
    file = private(tmp_path / "token", token)
    numbers = tmp_path / "list.csv"
    numbers.write_text("phone\n" + "".join(f"+{each}\n" for each in sorted(registry.ported)[:5]))
    program = Path(sys.executable).with_name("numroute")
    words = [str(program), "route", str(numbers), "--target", server.target, "--json"]
    shown = {"NUMROUTE_CA": str(authority.path), "NUMROUTE_TOKEN_FILE": str(file)}
    for options, variables in (
        (["--ca", str(authority.path), "--token-file", str(file)], {}),
        ([], shown),
    ):
        out = tmp_path / f"out-{len(options)}"
        done = subprocess.run(
            [*words, "--out", str(out), *options],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | variables,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["steps"]["routed"] == 5
    refused = subprocess.run(
        [*words, "--out", str(tmp_path / "none"), "--ca", str(authority.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "UNAUTHENTICATED" in refused.stderr


def test_commands_over_tls(run_server, store, authority, registry, tmp_path) -> None:
    """`lookup` and `explain` ask a service over TLS, with a token from a file."""
    token, digest = new_token()
    tokens = private(tmp_path / "tokens", token_entry("support", digest))
    server = run_server(store.path, security=Security(tls=authority.issue(), tokens=tokens))
    file = private(tmp_path / "token", token)
    number = min(registry.ported)
    operator = registry.answer(number)[0].operator
    program = Path(sys.executable).with_name("numroute")
    target = ["--target", f"localhost:{server.port}"]
    options = [*target, "--ca", str(authority.path)]
    for name in ("lookup", "explain"):
        words = [str(program), name, *options, "--token-file", str(file), f"+{number}"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert (operator.brand or operator.name) in done.stdout
        done = subprocess.run(
            [str(program), name, *options, f"+{number}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "UNAUTHENTICATED" in done.stderr
        assert "--token-file or NUMROUTE_TOKEN_FILE" in done.stderr
        # The authority is one of those that this system trusts.
        done = subprocess.run(
            [str(program), name, *target, "--tls", "--token-file", str(file), f"+{number}"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "SSL_CERT_FILE": str(authority.path)},
        )
        assert (operator.brand or operator.name) in done.stdout


def test_a_token_that_others_can_read_is_warned_of(server, registry, tmp_path) -> None:
    """A token file of mode 0644, as secrets are often mounted, is used with a warning."""
    number = min(registry.ported)
    words = ["lookup", "--target", server.target, "--token-file"]
    for mode, warned in ((0o600, False), (0o644, True)):
        file = private(tmp_path / "token", new_token()[0])
        file.chmod(mode)
        done = command("numroute", *words, file, f"+{number}")
        assert done.status == 0, done.err
        assert (f"{file}: the token can be read or changed by others" in done.err) is warned
        assert ("chmod 600" in done.err) is warned
