"""A port that one supervisor holds and its workers listen on together."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

from numroute.errors import SettingError

if TYPE_CHECKING:
    from numroute.server.settings import ServerSettings


class HeldPort:
    """An address kept from others; only sockets with SO_REUSEPORT of the same user may share it.

    The sockets here never listen, so that no connection is ever given to them.

    Attributes:
        number: The port, that which the system chose where 0 was asked for.
    """

    def __init__(self, settings: ServerSettings) -> None:
        """Take the address.

        Raises:
            SettingError: It cannot be listened on; the message has the system's reason.
        """
        self._sockets: list[socket.socket] = []
        self.number = settings.port
        try:
            found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
            for family, kind, protocol, _, address in found:
                self._take(family, kind, protocol, (address[0], self.number, *address[2:]))
        except OSError as error:
            self.close()
            raise cannot_listen(settings, error.strerror or "refused") from None

    def close(self) -> None:
        """Give the address up."""
        for held in self._sockets:
            held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, family: int, kind: int, protocol: int, address: tuple[str | int, ...]) -> None:
        held = socket.socket(family, kind, protocol)
        self._sockets.append(held)
        # Connections that a service before this one has closed do not keep the port.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)
        # Bound alone and shared afterwards: a second supervisor is refused, though its workers
        # would share the port, and the two would take half of the calls each.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.number = held.getsockname()[1]


def cannot_listen(settings: ServerSettings, reason: str) -> SettingError:
    """Return the error of an address that cannot be listened on."""
    return SettingError(
        f"cannot listen on {settings.listen}: {reason}",
        hint="Stop what listens there, or choose another address",
    )
