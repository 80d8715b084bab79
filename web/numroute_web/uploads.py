"""Lists on their way in: raw bodies and multipart forms, streamed to disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from litestar.exceptions import ClientException
from multipart import MultipartError, PushMultipartParser, parse_options_header

from numroute.files import create_private, flush
from numroute_web.problems import ProblemError

if TYPE_CHECKING:
    from litestar import Request

FIELDS_MAX: Final = 100
FIELD_BYTES_MAX: Final = 4_096
"""How many fields a form may have, and how long those may be that are no list."""

FREE_BYTES_MIN: Final = 256 << 20
"""What an upload must leave free on the disk."""

NAME_LENGTH_MAX: Final = 100
FILE_FIELD, TEXT_FIELD = "file", "numbers"
PASTED_NAME: Final = "numbers.csv"

_UNSAFE: Final = re.compile(r"[^\w .,()+=@-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A list that has arrived, and the other fields of its form."""

    name: str
    size: int
    sha256: str
    fields: tuple[tuple[str, str], ...] = ()


async def receive(request: Request[Any, Any, Any], folder: Path, size_max: int) -> Upload:
    """Write a request's list into a folder, and return what it is.

    Raises:
        ProblemError: The body is too large, too slow or malformed, or has no list.
        OSError: The disk is full.
    """
    announced = request.headers.get("content-length", "0")
    size = int(announced) if announced.isdecimal() else 0
    if size > size_max:
        raise _too_large(size_max)
    _require_space(folder, size)
    content_type, parameters = parse_options_header(request.headers.get("content-type", ""))
    fields: list[tuple[str, str]] = []
    try:
        with contextlib.closing(_Writer(folder, size_max)) as writer:
            if content_type == "multipart/form-data":
                fields += await _receive_form(request, writer, parameters.get("boundary", ""))
            else:
                writer.begin(request.query_params.get("name", ""))
                async for chunk in _chunks(request):
                    writer.write(chunk)
    except MultipartError:
        raise _malformed("the form is malformed or cut short") from None
    if not writer.size:
        raise ProblemError(
            "invalid-list",
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "there is no list in the request",
            hint=f"Send it as the body, or as the field `{FILE_FIELD}` of a form",
        )
    await asyncio.to_thread(flush, writer.path)
    return Upload(
        name=writer.path.name, size=writer.size, sha256=writer.digest(), fields=tuple(fields)
    )


def safe_name(text: str) -> str:
    """Return a client's name of a file as one that is safe in our folder."""
    name = text.replace("\\", "/").rpartition("/")[2]
    name = _UNSAFE.sub("_", name).lstrip(". _~-$").rstrip(". ")
    stem, dot, ending = name.rpartition(".")
    return (
        f"{stem[:NAME_LENGTH_MAX]}{dot}{ending[:10]}" if stem else name[:NAME_LENGTH_MAX] or "list"
    )


class _Writer:
    """Writes the one list of a request to a file, counts it, and hashes it."""

    def __init__(self, folder: Path, size_max: int) -> None:
        self.path = folder
        self.size = 0
        self._folder, self._size_max = folder, size_max
        self._next_name: str | None = None
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()

    def begin(self, name: str) -> None:
        """Take what follows as a list of this name."""
        self._next_name = safe_name(name)

    def write(self, chunk: bytes | bytearray) -> None:
        """Write a piece. Raises ProblemError if it is too much, or of a second list."""
        if self._next_name is not None and chunk:
            if self._file is not None:
                raise _malformed("the form has several lists", hint="Send one list at a time")
            self.path, self._next_name = self._folder / self._next_name, None
            self._file = create_private(self.path)
        self.size += len(chunk)
        if self.size > self._size_max:
            raise _too_large(self._size_max)
        self._hash.update(chunk)
        if self._file is not None:
            self._file.write(chunk)

    def digest(self) -> str:
        """Return the SHA-256 of what was written."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


async def _receive_form(
    request: Request[Any, Any, Any], writer: _Writer, boundary: str
) -> list[tuple[str, str]]:
    """Write the list that is in the field `file`, or else `numbers`; return the other fields."""
    fields: list[tuple[str, str]] = []
    name, text, has_file = "", bytearray(), False
    parser = PushMultipartParser(boundary, max_segment_count=FIELDS_MAX, strict=True)
    with parser:
        async for chunk in _chunks(request):
            for event in parser.parse(chunk):
                is_list = name in {FILE_FIELD, TEXT_FIELD}
                if isinstance(event, bytes | bytearray):
                    if is_list and not (has_file and name == TEXT_FIELD):
                        writer.write(event)
                        has_file |= name == FILE_FIELD
                        continue
                    text += event
                    if len(text) > FIELD_BYTES_MAX:
                        raise _too_large(FIELD_BYTES_MAX)
                elif event is None:
                    if not is_list:
                        fields.append((name, text.decode(errors="replace")))
                else:
                    name, text = event.name, bytearray()
                    writer.begin(PASTED_NAME if name == TEXT_FIELD else event.filename or "")
    return fields


async def _chunks(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """Yield the body in pieces. Raises ProblemError if it ends early."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientException:
        # Nobody reads the answer; what has come is removed.
        raise _malformed("the request was cut short") from None


def _malformed(detail: str, *, hint: str = "") -> ProblemError:
    return ProblemError("invalid-request", HTTPStatus.BAD_REQUEST, detail, hint=hint)


def _require_space(folder: Path, size: int) -> None:
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < size + FREE_BYTES_MIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _too_large(limit: int) -> ProblemError:
    return ProblemError(
        "too-large",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the request is longer than {limit:,} bytes",
        hint="Split the list, or compress it with gzip or zstd",
    )
