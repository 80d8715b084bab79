"""Lists on their way in: raw bodies and multipart forms, streamed to disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from litestar.exceptions import ClientException
from multipart import MultipartError, PushMultipartParser, parse_options_header

from numroute.files import create_private, flush
from numroute_web.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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


@dataclass(slots=True, kw_only=True)
class Upload:
    """A list that has arrived, and the other fields of its form."""

    name: str
    size: int
    sha256: str
    fields: list[tuple[str, str]] = field(default_factory=list)


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
    try:
        if content_type == "multipart/form-data":
            return await _receive_form(request, folder, size_max, parameters.get("boundary", ""))
        name = safe_name(request.query_params.get("name", ""))
        with contextlib.closing(_Writer(folder / name, size_max)) as writer:
            async for chunk in _chunks(request):
                writer.write(chunk)
        if not writer.size:
            raise _no_list()
        return await writer.upload()
    except MultipartError:
        raise ProblemError(
            "invalid-request", HTTPStatus.BAD_REQUEST, "the form is malformed or cut short"
        ) from None


def safe_name(text: str) -> str:
    """Return a client's name of a file as one that is safe in our folder."""
    name = text.replace("\\", "/").rpartition("/")[2]
    name = _UNSAFE.sub("_", name).lstrip(". _~-$").rstrip(". ")
    stem, dot, ending = name.rpartition(".")
    return (
        f"{stem[:NAME_LENGTH_MAX]}{dot}{ending[:10]}" if stem else name[:NAME_LENGTH_MAX] or "list"
    )


class _Writer:
    """Writes a list to its file, counts it, and hashes it."""

    def __init__(self, path: Path, size_max: int) -> None:
        self.path = path
        self._size_max = size_max
        self._file: BinaryIO = create_private(path)
        self._hash = hashlib.sha256()
        self.size = 0

    def close(self) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self._size_max:
            raise _too_large(self._size_max)
        self._hash.update(chunk)
        self._file.write(chunk)

    async def upload(self) -> Upload:
        """Make the file last, and return what it is."""
        await asyncio.to_thread(flush, self.path)
        return Upload(name=self.path.name, size=self.size, sha256=self._hash.hexdigest())


class _Form:
    """The fields of a form as they come; the lists among them go to files."""

    def __init__(self, folder: Path, size_max: int) -> None:
        self.fields: list[tuple[str, str]] = []
        self.writers: dict[str, _Writer] = {}
        self._folder = folder
        self._size_max = size_max
        self._name = ""
        self._text = bytearray()

    def begin(self, name: str, filename: str | None) -> None:
        """Begin a field. Raises ProblemError if it is a second list."""
        self._name, self._text = name, bytearray()
        if name not in {FILE_FIELD, TEXT_FIELD}:
            return
        if name in self.writers:
            raise ProblemError(
                "invalid-request",
                HTTPStatus.BAD_REQUEST,
                "the form has several lists",
                hint="Send one list at a time",
            )
        given = filename or "" if name == FILE_FIELD else PASTED_NAME
        path = self._folder / name / safe_name(given)
        path.parent.mkdir(mode=0o700)
        self.writers[name] = _Writer(path, self._size_max)

    def add(self, content: bytes) -> None:
        """Take a piece of the field. Raises ProblemError if it is too long."""
        if self._name in self.writers:
            self.writers[self._name].write(content)
            return
        self._text += content
        if len(self._text) > FIELD_BYTES_MAX:
            raise _too_large(FIELD_BYTES_MAX)

    def end(self) -> None:
        """End the field."""
        if self._name not in self.writers:
            self.fields.append((self._name, self._text.decode(errors="replace")))

    def close(self) -> None:
        """Close all files."""
        for writer in self.writers.values():
            writer.close()


async def _receive_form(
    request: Request[Any, Any, Any], folder: Path, size_max: int, boundary: str
) -> Upload:
    """Take the list from the field `file` or, if that is empty, from the text of `numbers`."""
    incoming = folder.with_name("form")
    incoming.mkdir(mode=0o700)
    form = _Form(incoming, size_max)
    parser = PushMultipartParser(boundary, max_segment_count=FIELDS_MAX, strict=True)
    with parser, contextlib.closing(form):
        async for chunk in _chunks(request):
            for event in parser.parse(chunk):
                if event is None:
                    form.end()
                elif isinstance(event, bytes | bytearray):
                    form.add(bytes(event))
                else:
                    form.begin(event.name, event.filename)
    filled = (form.writers[name] for name in (FILE_FIELD, TEXT_FIELD) if name in form.writers)
    writer = next((each for each in filled if each.size), None)
    if writer is None:
        raise _no_list()
    upload = await writer.upload()
    writer.path.rename(folder / upload.name)
    await asyncio.to_thread(shutil.rmtree, incoming)
    upload.fields = form.fields
    return upload


async def _chunks(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """Yield the body in pieces. Raises ProblemError if it ends early."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientException:
        # Nobody reads the answer; what has come is removed.
        raise ProblemError(
            "invalid-request", HTTPStatus.BAD_REQUEST, "the request was cut short"
        ) from None


def _require_space(folder: Path, size: int) -> None:
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < size + FREE_BYTES_MIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _no_list() -> ProblemError:
    return ProblemError(
        "invalid-list",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "there is no list in the request",
        hint=f"Send it as the body, or as the field `{FILE_FIELD}` of a form",
    )


def _too_large(limit: int) -> ProblemError:
    return ProblemError(
        "too-large",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the request is longer than {limit:,} bytes",
        hint="Split the list, or compress it with gzip or zstd",
    )
