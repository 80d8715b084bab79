"""The settings of ``numroute web``, checked once before it starts, and its limits by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from numroute.server.settings import Security, ServerSettings

NUMBERS_MAX: Final = 1_000
"""The most numbers in one ``POST /v1/lookup``."""

TEXT_LENGTH_MAX: Final = 256
"""The longest text that may stand for a number."""

REQUEST_BYTES_MAX: Final = 1 << 20
"""The largest body of a request that is no list."""

CONNECTIONS_MAX: Final = 1_000
"""How many requests are under way at once; further ones are answered 503."""

KEEP_ALIVE_SECONDS: Final = 75
"""How long an idle connection stays open."""

DRAIN_SECONDS: Final = 10
"""How long requests under way may take to end after a stop signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """All settings.

    Attributes:
        store: The folder of the snapshot store.
        listen: Address to listen on, ``host:port`` or ``[IPv6]:port``.
        max_age: Answers from a snapshot whose data is older than this are marked stale.
        region: The default country that the page offers.
        callback_hosts: Hosts and networks to which the end of a list may be reported.
        callback_secret: The file of the secret that signs these requests.
        security: Who may ask, and how; clients are known by their tokens.
        jobs: The folder of lists and their results.
        choices: The folder of policies, price lists and do-not-send lists that are offered.
        list_workers: How many lists are routed at once.
        list_bytes_max: The largest list that is taken.
        retention: How long a list and its results are kept after it is done.
    """

    store: Path
    listen: str
    jobs: Path
    choices: Path | None = None
    region: str | None = None
    callback_hosts: tuple[str, ...] = ()
    callback_secret: Path | None = None
    list_workers: int = 1
    list_bytes_max: int = 1 << 30
    retention: timedelta = timedelta(days=1)
    max_age: timedelta | None = None
    security: Security = field(default_factory=Security)

    def __post_init__(self) -> None:
        """Check the settings by the rules of ``numroute serve``. Raises SettingError."""
        # Its own checks are those of an address and of who may reach it.
        self.as_server()

    def as_server(self) -> ServerSettings:
        """Return the settings that a gRPC service with the same address would have."""
        return ServerSettings(
            store=self.store, listen=self.listen, max_age=self.max_age, security=self.security
        )
