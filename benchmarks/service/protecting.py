"""What metrics, tokens and TLS cost a call, and what a second worker brings."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import trustme

from benchmarks.material import Material
from benchmarks.processes import BIN, run
from benchmarks.report import Figure
from benchmarks.service.asking import Call, contest, make_questions
from numroute import wire
from numroute.plan.load import CHANNEL_OPTIONS, Send, Service, serving

BATCHES = (1_000, 65_536)
IN_FLIGHT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Options of ``numroute serve``, and what a client needs to get in."""

    tokens: tuple[str, ...]
    tls: tuple[str, ...]
    ca: bytes
    token: str


def guards(material: Material, seconds: float) -> Sequence[Figure]:
    """Compare a bare service with one that is watched, guarded, or speaks TLS."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        made = make_protection(Path(folder))
        metrics = ("--metrics", "127.0.0.1:0")
        sides: dict[str, tuple[Service, Call]] = {}
        for name, options in {
            "bare": (),
            # How far it differs from the first is the error of the measurement.
            "bare again": (),
            "metrics": metrics,
            "metrics and tokens": (*metrics, *made.tokens),
            "TLS": made.tls,
            "TLS, metrics and tokens": (*made.tls, *metrics, *made.tokens),
        }.items():
            service = stack.enter_context(serving(material.store, *options))
            sides[name] = service, stack.enter_context(connected(service, made, options))
        for batch in BATCHES:
            questions = make_questions(material, batch)
            senders: dict[str, tuple[Service, Send]] = {}
            questions.learn(sides["bare"][1], material.truth)
            for name, (service, call) in sides.items():
                senders[name] = service, questions.send(call)
            figures += contest(
                f"Protection, {batch:,} numbers a call",
                senders,
                in_flight=IN_FLIGHT,
                numbers=batch,
                seconds=seconds / len(BATCHES),
            )
    return figures


def workers(material: Material, seconds: float) -> Sequence[Figure]:
    """Compare one worker with one for each core; the client shares the cores with them."""
    batch = 1_000
    questions = make_questions(material, batch)
    counts = sorted({1, 2, len(os.sched_getaffinity(0))})
    section = f"Workers, {batch:,} numbers a call"
    memory = []
    with contextlib.ExitStack() as stack:
        sides = {}
        for count in counts:
            service = stack.enter_context(serving(material.store, workers=count))
            call = stack.enter_context(service.bulk_lookup())
            questions.learn(call, material.truth)
            sides[f"{count} workers"] = service, questions.send(call)
        figures = contest(
            section,
            sides,
            in_flight=4 * IN_FLIGHT,
            numbers=batch,
            seconds=seconds,
        )
        for (name, (service, _)), count in zip(sides.items(), counts, strict=True):
            memory.append(
                Figure(
                    section=section,
                    name=f"{name}, private memory a worker",
                    unit="MB",
                    values=[service.private_bytes() / count / 1e6],
                )
            )
    size = material.snapshot.stat().st_size / 1e6
    index = Figure(section=section, name="index, shared by all", unit="MB", values=[size])
    return [*figures, *memory, index]


def make_protection(folder: Path) -> Protection:
    """Make a certificate, its key, and a file with one client's token."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key, tokens = (folder / name for name in ("service.pem", "service.key", "tokens"))
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.touch(0o600)
    key.write_bytes(issued.private_key_pem.bytes())
    token = run(BIN / "numroute", "token", "new", "bench", "--append", tokens).output.strip()
    return Protection(
        tokens=("--tokens", str(tokens)),
        tls=("--tls-cert", str(certificate), "--tls-key", str(key)),
        ca=authority.cert_pem.bytes(),
        token=token.split()[-1],
    )


@contextlib.contextmanager
def connected(service: Service, made: Protection | None, options: Sequence[str]) -> Iterator[Call]:
    """Yield ``BulkLookup`` of a service with these options."""
    if made and "--tls-cert" in options:
        channel = grpc.secure_channel(
            service.address.replace("127.0.0.1", "localhost"),
            grpc.ssl_channel_credentials(made.ca),
            options=CHANNEL_OPTIONS,
        )
    else:
        channel = grpc.insecure_channel(service.address, options=CHANNEL_OPTIONS)
    with channel:
        call = channel.unary_unary(
            wire.method_path("BulkLookup"), request_serializer=None, response_deserializer=None
        )
        yield _WithToken(call, made.token) if made and "--tokens" in options else call


class _WithToken:
    """Sends a token with each call."""

    def __init__(self, call: Call, token: str) -> None:
        self._call = call
        self._metadata = (("authorization", f"Bearer {token}"),)

    def __call__(self, request: bytes, **options: Any) -> bytes:  # noqa: ANN401 - grpc's
        return self._call(request, metadata=self._metadata, **options)

    def future(self, request: bytes, **options: Any) -> Any:  # noqa: ANN401 - grpc's
        return self._call.future(request, metadata=self._metadata, **options)
