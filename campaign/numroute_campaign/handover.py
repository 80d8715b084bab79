"""The act of a depersonalised hand-over, and where its key and its map may lie.

With pseudonyms in place of numbers, who has the map or the key has the people. Both lie in folders
of their own, and a run leaves a record that a security officer can check and sign.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from numroute.errors import SettingError
from numroute.files import create_private
from numroute_campaign.pseudonyms import METHOD, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numroute_campaign.summary import Steps, Summary


ROLES: Final = ("list", "do-not-send list", "policy file", "price file", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """A file that went in or came out; ``role`` is one of ``ROLES``.

    ``sha256`` is empty for standard input.
    """

    role: str
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who handed what over, when and how.

    Attributes:
        run_by: The user's name, and the machine's.
        started: ISO 8601, UTC.
        finished: ISO 8601, UTC.
        program: Name and version.
        snapshots: Ids of the registry snapshots that answered.
        inputs: Lists, do-not-send lists, policy and price file.
        outputs: The files of the output folder, apart from the act itself.
        columns: Columns in the outputs.
        dropped_columns: Columns of the list that are not in the outputs.
        method: How pseudonyms are computed.
        key_fingerprint: Identifies the key; the key cannot be computed from it.
        map: Where the map of pseudonyms lies.
        steps: Rows in and out.
    """

    run_by: str
    started: str
    finished: str
    program: str
    snapshots: tuple[str, ...]
    inputs: tuple[FileDigest, ...]
    outputs: tuple[FileDigest, ...]
    columns: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    method: str
    key_fingerprint: str
    map: str
    steps: Steps


def check_places(out: Path, map_path: Path, key_path: Path) -> None:
    """Make sure that the map and the key lie in folders of their own.

    Raises:
        SettingError: One lies in the output folder or beside it, or both lie together.
    """
    folder = out.resolve()
    for what, path in (("map of pseudonyms", map_path), ("key", key_path)):
        place = path.resolve().parent
        if place == folder or folder in place.parents:
            where = "in the output folder, and would leave with it"
        elif place in folder.parents:
            where = "beside the output folder or above it"
        else:
            continue
        raise SettingError(
            f"{path}: the {what} would lie {where}", hint="Give it a folder of its own"
        )
    if map_path.resolve().parent == key_path.resolve().parent:
        raise SettingError(
            f"{key_path}: the key and the map of pseudonyms would lie in one folder",
            hint="Give each a folder of its own",
        )


def write_act(
    folder: Path,
    summary: Summary,
    *,
    started: datetime,
    inputs: Sequence[tuple[str, str, Path | None]],
    columns: Sequence[str],
    key: bytes,
    map_path: Path,
    language: str,
) -> Act:
    """Write ``act.json`` and ``act.html`` about the finished files of an output folder.

    ``inputs``: role, name and path of each file that was read; no path for standard input.
    """
    from numroute_campaign.report import page_environment  # noqa: PLC0415 - slow to import

    act = Act(
        run_by=f"{getpass.getuser()}@{socket.gethostname()}",
        started=_time(started),
        finished=_time(datetime.now(UTC)),
        program=f"numroute {version('numroute')}",
        snapshots=summary.snapshots,
        inputs=tuple(_digest(role, name, path) for role, name, path in inputs),
        outputs=tuple(
            _digest(ROLES[-1], path.name, path)
            for path in sorted(folder.iterdir(), key=lambda each: each.name)
        ),
        columns=tuple(columns),
        dropped_columns=summary.dropped_columns,
        method=METHOD,
        key_fingerprint=fingerprint(key),
        map=str(map_path.absolute()),
        steps=summary.steps,
    )
    text = json.dumps(asdict(act), ensure_ascii=False, indent=2) + "\n"
    page = page_environment(language).get_template("act.html.j2").render(act=act, s=summary)
    contents: Mapping[str, str] = {"act.json": text, "act.html": page}
    for name, content in contents.items():
        with create_private(folder / name) as file:
            file.write(content.encode())
    return act


def _digest(role: str, name: str, path: Path | None) -> FileDigest:
    if path is None:
        return FileDigest(role=role, name=name, bytes=0, sha256="")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileDigest(role=role, name=name, bytes=file.tell(), sha256=digest)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
