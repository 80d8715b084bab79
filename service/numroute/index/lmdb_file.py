"""Writes a whole LMDB environment, 0.9 data format, as one stream of pages.

The LMDB library keeps every page of a transaction in memory until it is committed: once the size of
the file, besides the values themselves. Here values flow through a few buffers into the file, and
are digested on the way. What comes out is, byte for byte, what the library writes when it is given
the same values in the same order in one transaction; a test holds the two against each other.

The file has one unnamed database whose keys all stand in one leaf page (see docs/FORMAT.md).
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from numroute.index.layout import LMDB_PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import BinaryIO

_PAGE_HEADER: Final = struct.Struct("<QHHHH")
"""Page number, padding, flags, and the bounds of the free space (or, as one, a count of pages)."""
_DATABASE: Final = struct.Struct("<IHHQQQQQ")
"""Padding, flags, depth; branch, leaf and overflow pages; entries; root."""
_META: Final = struct.Struct("<IIQQ")
_NODE: Final = struct.Struct("<HHHH")
"""Size (low, high), flags, key size."""

_MAGIC: Final = 0xBEEFC0DE
_DATA_VERSION: Final = 1
_P_LEAF: Final = 0x02
_P_OVERFLOW: Final = 0x04
_P_META: Final = 0x08
_F_BIGDATA: Final = 0x01
_INTEGER_KEY: Final = 0x08
_NO_SUBDIR: Final = 0x4000
_NO_PAGE: Final = (1 << 64) - 1
_ROOT: Final = 2

_NODE_BYTES_MAX: Final = (((LMDB_PAGE - _PAGE_HEADER.size) // 2) & ~1) - 2
"""A larger node keeps its value on pages of its own: two nodes must fit into every page."""

_LEAF_BYTES: Final = LMDB_PAGE - _PAGE_HEADER.size
_OFFSET_BYTES: Final = 2
_PAGE_NUMBER_BYTES: Final = 8

_BUFFER_BYTES: Final = 4 * 2**20
_BUFFERS: Final = 4
"""Two digests and the file system read a buffer while the next is filled."""


class LeafFullError(ValueError):
    """The keys do not fit into one page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value: its key, its length in bytes, and what yields its bytes piece by piece."""

    key: str
    length: int
    pieces: Callable[[], Iterable[memoryview]]

    @property
    def small(self) -> bool:
        """Whether the library would keep it in the leaf."""
        return self._node_bytes(self.length) <= _NODE_BYTES_MAX

    def leaf_bytes(self, *, inline: bool) -> int:
        """Return how much of the leaf it takes: its offset, and its node at an even length."""
        node = self._node_bytes(self.length if inline else _PAGE_NUMBER_BYTES)
        return _OFFSET_BYTES + node + node % 2

    def pages(self, *, inline: bool) -> int:
        """Return how many pages of its own it takes."""
        return 0 if inline else -(-(_PAGE_HEADER.size + self.length) // LMDB_PAGE)

    def _node_bytes(self, data: int) -> int:
        return _NODE.size + len(self.key) + data


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An environment as it was written: its first pages and the digest of all of it."""

    head: bytes
    length: int
    sha256: bytes


class EnvironmentWriter:
    """Writes values in the order given; the digest of each is known when it has been written."""

    def __init__(self, file: BinaryIO, values: Sequence[Value]) -> None:
        """Lay the pages out; ``values`` tell their lengths, and are read only when written.

        Raises LeafFullError.
        """
        self._file = file
        inline = _inline_keys(values)
        self._values = [(value, value.pages(inline=value.key in inline)) for value in values]
        self._overflow_pages = sum(pages for _, pages in self._values)
        self._length = (_ROOT + 1 + self._overflow_pages) * LMDB_PAGE

    def write(self, digested: Callable[[str, bytes], None]) -> Written:
        """Write everything; ``digested`` is told each value's key and SHA-256, in order.

        A value whose content depends on those digests must come last, must not be small, and its
        length must not depend on them.
        Raises OSError.
        """
        head = self._head()
        with _Stream(self._file) as stream:
            stream.add(memoryview(head))
            number = _ROOT + 1
            for value, pages in self._values:
                if not pages:
                    digested(value.key, hashlib.sha256(_joined(value)).digest())
                    continue
                stream.add(
                    memoryview(
                        _PAGE_HEADER.pack(number, 0, _P_OVERFLOW, pages & 0xFFFF, pages >> 16)
                    )
                )
                digested(value.key, stream.add_value(value))
                used = _PAGE_HEADER.size + value.length
                stream.add(memoryview(bytes(pages * LMDB_PAGE - used)))
                number += pages
            return Written(head=head, length=self._length, sha256=stream.digest())

    def _head(self) -> bytes:
        overflow = self._overflow_pages
        empty = _DATABASE.pack(0, 0, 0, 0, 0, 0, 0, _NO_PAGE)
        main = _DATABASE.pack(0, 0, 1, 0, 1, overflow, len(self._values), _ROOT)
        first = self._meta_page(0, empty, last_page=1)
        second = self._meta_page(1, main, last_page=_ROOT + overflow)
        return first + second + self._leaf()

    def _meta_page(self, number: int, main: bytes, *, last_page: int) -> bytes:
        free = _DATABASE.pack(LMDB_PAGE, _INTEGER_KEY | _NO_SUBDIR, 0, 0, 0, 0, 0, _NO_PAGE)
        page = (
            _PAGE_HEADER.pack(number, 0, _P_META, 0, 0)
            + _META.pack(_MAGIC, _DATA_VERSION, 0, self._length)
            + free
            + main
            # The number of the transaction is that of the page.
            + struct.pack("<QQ", last_page, number)
        )
        return page.ljust(LMDB_PAGE, b"\0")

    def _leaf(self) -> bytes:
        """Return the leaf: offsets in the order of keys from the front, nodes from the end."""
        page = bytearray(LMDB_PAGE)
        offsets: dict[bytes, int] = {}
        number = _ROOT + 1
        upper = LMDB_PAGE
        for value, pages in self._values:
            key = value.key.encode("ascii")
            data = struct.pack("<Q", number) if pages else _joined(value)
            number += pages
            node = (
                _NODE.pack(
                    value.length & 0xFFFF,
                    value.length >> 16,
                    _F_BIGDATA if pages else 0,
                    len(key),
                )
                + key
                + data
            )
            upper -= len(node) + len(node) % 2
            offsets[key] = upper
            page[upper : upper + len(node)] = node
        lower = _PAGE_HEADER.size + _OFFSET_BYTES * len(offsets)
        front = _PAGE_HEADER.pack(_ROOT, 0, _P_LEAF, lower, upper) + b"".join(
            struct.pack("<H", offsets[key]) for key in sorted(offsets)
        )
        page[: len(front)] = front
        return bytes(page)


def _inline_keys(values: Sequence[Value]) -> set[str]:
    """Return which values stand in the leaf: the small ones, as far as one page holds them.

    Where it does not, the library would make a tree of several pages; here the largest values get
    pages of their own.
    """
    inline = {value.key for value in values if value.small}
    used = sum(value.leaf_bytes(inline=value.key in inline) for value in values)
    for value in sorted(values, key=lambda value: -value.length):
        if used <= _LEAF_BYTES:
            break
        if value.key in inline:
            inline.discard(value.key)
            used += value.leaf_bytes(inline=False) - value.leaf_bytes(inline=True)
    if used > _LEAF_BYTES:
        raise LeafFullError("the keys do not fit into one page")
    return inline


def _joined(value: Value) -> bytes:
    return b"".join(value.pieces())


class _Stream:
    """Bytes on their way into a file: gathered into buffers, digested by threads, and written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._environment = hashlib.sha256()
        self._pools = [ThreadPoolExecutor(1, thread_name_prefix="digest") for _ in range(2)]
        self._free: deque[tuple[bytearray, list[Future[None]]]] = deque(
            (bytearray(_BUFFER_BYTES), []) for _ in range(_BUFFERS)
        )
        self._filled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def add(self, piece: memoryview) -> None:
        """Append bytes."""
        begin = 0
        while begin < len(piece):
            buffer, _ = self._free[0]
            count = min(len(piece) - begin, _BUFFER_BYTES - self._filled)
            buffer[self._filled : self._filled + count] = piece[begin : begin + count]
            self._filled += count
            begin += count
            if self._filled == _BUFFER_BYTES:
                self._flush()

    def add_value(self, value: Value) -> bytes:
        """Append a value and return its SHA-256; raises ValueError when its length is another."""
        self._flush()
        self._of_value = hashlib.sha256()
        self._in_value = True
        length = 0
        for piece in value.pieces():
            length += len(piece)
            self.add(piece)
        self._flush()
        self._in_value = False
        if length != value.length:
            raise ValueError(f"{value.key} has {length} bytes, {value.length} were announced")
        # The pool has one thread: when this has run, all before it has.
        self._pools[1].submit(int).result()
        return self._of_value.digest()

    def digest(self) -> bytes:
        """Return the SHA-256 of everything."""
        self._flush()
        self._pools[0].submit(int).result()
        return self._environment.digest()

    _in_value = False

    def _flush(self) -> None:
        """Hand the current buffer over, and wait until the next is free."""
        if not self._filled:
            return
        buffer, _ = self._free.popleft()
        part = memoryview(buffer)[: self._filled]
        readers = [self._pools[0].submit(self._environment.update, part)]
        if self._in_value:
            readers.append(self._pools[1].submit(self._of_value.update, part))
        self._free.append((buffer, readers))
        self._filled = 0
        written = 0
        while written < len(part):
            written += self._file.write(part[written:])
        for reader in self._free[0][1]:
            reader.result()
