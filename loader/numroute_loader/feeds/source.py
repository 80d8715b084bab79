"""Where files are delivered: what a folder and an SFTP host have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A delivered file as its folder lists it; ``path`` is the source's own name for it."""

    name: str
    path: str
    size: int
    mtime_ns: int

    @property
    def identity(self) -> str:
        """What tells this delivery from another one of the same name."""
        return f"{self.size}-{self.mtime_ns}"


class Session(Protocol):
    """An open source."""

    def listing(self) -> list[RemoteFile]:
        """Return all files that lie there, of whatever kind.

        Raises FeedError when the source cannot be listed.
        """

    def fetch(self, file: RemoteFile, to: Path) -> None:
        """Bring a file's bytes to a local path (0600); go on where ``to`` ends, if it exists.

        Raises InputError when this file cannot be had though others can, FeedError when the source
        fails or the file changed on the way.
        """


class Source(Protocol):
    """A place where files are delivered; ``name`` is fit for logs and holds no secret."""

    name: str

    def session(self) -> AbstractContextManager[Session]:
        """Open the source for one poll."""

    def discard(self, name: str) -> None:
        """Remove a file that is of no more use; raises FeedError."""
