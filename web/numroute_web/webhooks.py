"""Tell a client's own software that its list is done: signed requests to hosts that are allowed.

Signatures are those of Standard Webhooks: HMAC-SHA256 over id, time and body. A host is resolved
once per attempt, each of its addresses is judged, and the connection goes to the address that was
judged: a name that resolves differently a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore
import msgspec
from structlog.typing import FilteringBoundLogger

from numroute.errors import SettingError
from numroute.files import read_setting_file
from numroute.logs import fault_fields
from numroute_web.jobs import Job, JobStore, job_body
from numroute_web.problems import ProblemError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how Standard Webhooks writes secrets
SECRET_BYTES_MIN: Final = 24

BACK_OFF_SECONDS: Final = (5.0, 30.0, 300.0, 1_800.0, 7_200.0)
"""The waits between attempts; after the last one a delivery is given up."""

ATTEMPT_SECONDS: Final = 15.0
POLL_SECONDS: Final = 1.0
SENDING_MAX: Final = 8
"""How many deliveries are sent at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """Where deliveries may go, and the key that signs them.

    Attributes:
        hosts: Names of hosts, in lower case; they must have public addresses.
        networks: Networks whose addresses may be private, too.
        key: Signs deliveries.
    """

    hosts: frozenset[str]
    networks: tuple[Network, ...]
    key: bytes

    @classmethod
    def of_settings(cls, allowed: Iterable[str], secret: Path | None) -> Webhooks:
        """Read the settings; an entry is a host's name, an address or a network.

        Raises:
            SettingError: There are hosts and no secret, or the secret is not valid.
        """
        hosts, networks = set(), []
        for entry in allowed:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                hosts.add(entry.lower())
        if (hosts or networks) and secret is None:
            raise SettingError(
                "--callback-host needs a secret", hint="Give one with --callback-secret FILE"
            )
        key = b"" if secret is None else _read_key(secret)
        return cls(hosts=frozenset(hosts), networks=tuple(networks), key=key)

    def check(self, url: str) -> None:
        """Refuse an address that is not allowed. Raises ProblemError."""
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise _refused("it is malformed") from None
        host = (parts.hostname or "").lower()
        if parts.scheme not in {"http", "https"} or not host or not url.isascii():
            raise _refused("it is no http or https address")
        if parts.username is not None or parts.password is not None:
            raise _refused("it holds a user name or a password")
        if host not in self.hosts and not self._is_listed(host):
            raise _refused("its host is not allowed")

    def allows(self, address: str) -> bool:
        """Return whether a connection may go to an address."""
        parsed = ipaddress.ip_address(address)
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        return bool(mapped.is_global and not mapped.is_multicast) or self._is_listed(str(mapped))

    def _is_listed(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)

    def headers(self, message_id: str, body: bytes, now: float) -> dict[str, str]:
        """Return the headers of Standard Webhooks for a message."""
        stamp = str(int(now))
        signed = f"{message_id}.{stamp}.".encode() + body
        digest = hmac.new(self.key, signed, hashlib.sha256).digest()
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to an address that was judged, under the name that was asked for."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Any = None,  # noqa: ANN401 - likewise
    ) -> httpcore.AsyncNetworkStream:
        """Resolve the host once and connect to its first address. Raises ConnectError."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        if not addresses or not all(self._webhooks.allows(each) for each in addresses):
            raise httpcore.ConnectError("an address of the host is not allowed")
        return await self._network.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )


class Deliverer:
    """Delivers what is due."""

    def __init__(self, webhooks: Webhooks, jobs: JobStore, log: FilteringBoundLogger) -> None:
        """Deliver the ends of these jobs."""
        self._webhooks = webhooks
        self._jobs = jobs
        self._log = log

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set; what is under way then is sent again after the start."""
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            due = self._jobs.due_deliveries()[:SENDING_MAX]
            sending = asyncio.gather(*(self._deliver(job, attempt) for job, attempt in due))
            either: set[asyncio.Future[Any]] = {sending, stopping}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            sending.cancel()
            await asyncio.wait({stopping}, timeout=POLL_SECONDS)

    async def _deliver(self, job: Job, attempt: int) -> None:
        status, error = None, ""
        try:
            status = await self._send(job)
            if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                error = f"status {status}"
        except (OSError, httpcore.NetworkError, httpcore.TimeoutException, TimeoutError) as fault:
            error = type(fault).__name__
        except Exception as fault:  # noqa: BLE001 - one delivery must not end the others
            error = type(fault).__name__
            self._log.error("delivery failed", **fault_fields(fault))
        wait = BACK_OFF_SECONDS[attempt - 1] if attempt <= len(BACK_OFF_SECONDS) else None
        try:
            self._jobs.record_delivery(
                job.id,
                attempt,
                status,
                error,
                None if not error or wait is None else time.time() + wait,
            )
        except sqlite3.Error as fault:
            # A full disk, perhaps: it stays due and is sent again.
            self._log.error("delivery failed", **fault_fields(fault))

    async def _send(self, job: Job) -> int:
        """Send one request, follow no redirect, read no more than the head; return the status."""
        body = msgspec.json.encode({"type": f"list.{job.state.value}", "data": job_body(job)})
        headers = self._webhooks.headers(f"list_{job.id}", body, time.time())
        self._webhooks.check(job.callback_url)
        async with (
            asyncio.timeout(ATTEMPT_SECONDS),
            httpcore.AsyncConnectionPool(network_backend=_CheckedNetwork(self._webhooks)) as pool,
            pool.stream(
                "POST", job.callback_url, headers=list(headers.items()), content=body
            ) as response,
        ):
            return int(response.status)


def _read_key(path: Path) -> bytes:
    content = read_setting_file(path, "the secret of callbacks", private=True)
    text = content.decode("ascii", "replace").strip()
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if len(key) < SECRET_BYTES_MIN:
        raise SettingError(
            f"{path}: the secret of callbacks is not valid",
            hint=f"Write whsec_ and at least {SECRET_BYTES_MIN} random bytes in base64",
        )
    return key


def _refused(reason: str) -> ProblemError:
    return ProblemError(
        "callback-refused",
        HTTPStatus.BAD_REQUEST,
        f"callback_url: {reason}",
        hint="Ask the service's operators to allow its host",
    )
