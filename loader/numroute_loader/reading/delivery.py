"""How a registry delivers its files: folders, names, and what a name says of its file."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping


class Role(enum.Enum):
    """What a delivered file is for."""

    DUMP = "full dump"
    COMPANION = "companion of a full dump"
    WINDOW = "increment"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLayout:
    """How one registry delivers its files.

    ``root`` and ``folders``: where the registry puts its files unless configuration says otherwise.
    ``file_name`` is matched (``fullmatch``) against a file's name; its groups are ``type``,
    ``time`` (``YYYYMMDDhhmm``, ``utc_offset`` ahead of UTC) and ``sequence``.
    ``types``: for each type, in lower case, its role and the kind of file that it is.
    A full dump needs every companion type of its day; ``dumps`` lists the types of dump, the most
    detailed first. A window of increments needs one file of each window type, with one time.
    """

    registry: str
    root: str
    folders: tuple[str, ...]
    file_name: re.Pattern[str]
    types: Mapping[str, tuple[Role, str]]
    dumps: tuple[str, ...]
    utc_offset: timedelta
    dump_every: timedelta
    window_every: timedelta

    @property
    def companions(self) -> frozenset[str]:
        """The types that a full dump needs beside it."""
        return self._of(Role.COMPANION)

    @property
    def windows(self) -> frozenset[str]:
        """The types that one window of increments consists of."""
        return self._of(Role.WINDOW)

    def parse(self, name: str) -> DeliveredFile | None:
        """Return what a name says of its file, None for a name that is not this registry's."""
        match = self.file_name.fullmatch(name)
        if match is None or match["type"].lower() not in self.types:
            return None
        try:
            local = datetime.strptime(match["time"], "%Y%m%d%H%M").replace(tzinfo=UTC)
        except ValueError:
            return None
        kind = match["type"].lower()
        return DeliveredFile(
            name=name,
            type=kind,
            role=self.types[kind][0],
            time=local - self.utc_offset,
            day=local.date(),
            sequence=int(match["sequence"]),
        )

    def _of(self, role: Role) -> frozenset[str]:
        return frozenset(name for name, (each, _) in self.types.items() if each is role)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredFile:
    """A file as its name describes it: ``time`` in UTC, ``day`` by the registry's own clock."""

    name: str
    type: str
    role: Role
    time: datetime
    day: date
    sequence: int
