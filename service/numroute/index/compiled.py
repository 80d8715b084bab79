"""The lookup kernel compiled by numba (extra ``fast``); importing it takes seconds.

One loop over blocks of numbers: each stage computes where the next one reads and prefetches it, so
that hundreds of accesses to memory are under way at once. Indices are unsigned and nothing branches
on data, so that LLVM vectorises the stages; their temporaries live on the stack.
:mod:`numroute.index.kernel` compiles in the background and switches when this is ready.

The compiled code is cached on disk where numba finds a writable folder: that of the environment
variable ``NUMBA_CACHE_DIR``, beside this module, or the user's. Without one it is compiled anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from numroute.index import layout
from numroute.model import NUMBER_MAX

STAGE_NUMBERS = 256
"""Numbers between two stages: enough that a prefetch has arrived, few enough for the stack."""

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _prefetch(_: Any, array: Any, index: Any) -> Any:  # noqa: ANN401 - numba's own types
    """Ask for an element of an array, given an unsigned index, without waiting for it."""
    signature = types.void(array, index)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        at = args[1] if args[1].type.width == _I64.width else builder.zext(args[1], _I64)
        pointer = builder.bitcast(builder.gep(data, [at]), _I8.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return signature, generate


def _popcount(_: Any, value: Any) -> Any:  # noqa: ANN401, ARG001 - numba's own types
    """Count the set bits of a uint64."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:  # noqa: ANN401
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), generate


def _stack(kind: Any, bits: int, length: int) -> Any:  # noqa: ANN401 - numba's own types
    """Return a function that makes room on the stack, which outlives no call."""

    def allocate(_: Any) -> Any:  # noqa: ANN401
        def generate(_: Any, builder: Any, __: Any, ___: Any) -> Any:  # noqa: ANN401
            room = cgutils.alloca_once(builder, ir.ArrayType(ir.IntType(bits), length))
            room.align = 64
            return builder.bitcast(room, ir.IntType(bits).as_pointer())

        return types.CPointer(kind)(), generate

    return intrinsic(allocate)


def _at(kind: Any, bits: int) -> Any:  # noqa: ANN401 - numba's own types
    """Return a function that takes the address of an array's first element."""

    def point(_: Any, address: Any) -> Any:  # noqa: ANN401, ARG001
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:  # noqa: ANN401
            return builder.inttoptr(args[0], ir.IntType(bits).as_pointer())

        return types.CPointer(kind)(types.uint64), generate

    return intrinsic(point)


prefetch, popcount = intrinsic(_prefetch), intrinsic(_popcount)
_B = STAGE_NUMBERS
_room_index = _stack(types.uint32, 32, _B)
_room_entry = _stack(types.uint64, 64, _B)
_room_word = _stack(types.uint32, 32, _B)
_room_row = _stack(types.uint16, 16, _B)
_room_low = _stack(types.uint32, 32, _B)
_room_code = _stack(types.uint64, 64, _B)
_room_asked = _stack(types.uint32, 32, _B + 1)
_room_found = _stack(types.uint32, 32, _B + 1)
_room_place = _stack(types.uint64, 64, _B + 1)
_room_mixed = _stack(types.uint32, 32, _B + 1)
_at_u8, _at_u16 = _at(types.uint8, 8), _at(types.uint16, 16)
_at_u32, _at_u64 = _at(types.uint32, 32), _at(types.uint64, 64)

# numba takes these as constants; plain integers would make signed indices.
_u32, _u64 = np.uint32, np.uint64
_STAGE, _ZERO, _ONE = _u64(_B), _u64(0), _u64(1)
_PAGE, _BLOCK, _GRANULE = (
    _u64(layout.PAGE_SHIFT),
    _u64(layout.BLOCK_SHIFT),
    _u64(layout.GRANULE_SHIFT),
)
_IN_PAGE, _IN_BLOCK = _u64(layout.BLOCKS_PER_PAGE - 1), _u64(layout.GRANULES_PER_BLOCK - 1)
_IN_GRANULE = _u64((1 << layout.GRANULE_SHIFT) - 1)
_FACTOR, _FACTOR_SHIFT = _u64(layout.CELL_FACTOR), _u64(layout.CELL_FACTOR_SHIFT)
_CELL, _CELLS = _u64(layout.CELL_NUMBERS), _u64(layout.CELL_MASK)
_PLACE_SHIFT, _PLACE, _ROW = (
    _u64(layout.PLACE_SHIFT),
    _u64(layout.PLACE_MASK),
    _u64(layout.ROW_SHIFT),
)
_RANK, _STRIP, _STRIPS, _HALVES = (
    _u64(layout.RANK_SHIFT),
    _u64(layout.STRIP_SHIFT),
    _u64(layout.STRIP_WORDS),
    _u64(4),
)
_BYTES, _BYTE = _u64(8), _u64(3)
_MIXED, _INVALID, _LAST = np.uint16(layout.MIXED), np.uint16(layout.INVALID_ROW), _u64(NUMBER_MAX)


def _lookup(tables: Any, numbers: Any, rows: Any) -> None:  # noqa: ANN401, C901, PLR0912, PLR0915 - numba infers types; one loop, as the compiler wants it
    """Write the row of each number: the lookup of docs/format.md, in stages.

    ``tables``: uint64, the addresses and sizes that ``Tables.addresses`` lists. Two numbers and an
    address cost a call less than a dozen arrays would.
    """
    # The lengths of arrays that are only indexed do not matter.
    top, last_page = carray(_at_u64(tables[0]), (1,)), tables[1]
    sub = carray(_at_u64(tables[2]), (1,))
    entries = carray(_at_u64(tables[3]), (1,))
    heap = carray(_at_u64(tables[4]), (1,))
    strips = carray(_at_u16(tables[4]), (1,))
    codes = carray(_at_u8(tables[4]), (1,))
    code_shift, wide = tables[5], _u64(3) - tables[5]
    dictionary = carray(_at_u16(tables[6]), (1,))
    dictionary_start, group_shift = carray(_at_u32(tables[7]), (1,)), tables[8]
    pieces = np.int64(tables[10])
    range_start = carray(_at_u64(tables[9]), (pieces,))
    range_route = carray(_at_u16(tables[11]), (1,))
    index = carray(_room_index(), (_B,))
    entry = carray(_room_entry(), (_B,))
    word = carray(_room_word(), (_B,))
    row = carray(_room_row(), (_B,))
    low = carray(_room_low(), (_B,))
    code = carray(_room_code(), (_B,))
    asked = carray(_room_asked(), (_B + 1,))
    found = carray(_room_found(), (_B + 1,))
    place = carray(_room_place(), (_B + 1,))
    mixed = carray(_room_mixed(), (_B + 1,))
    count = _u64(numbers.shape[0])
    begin = _ZERO
    while begin < count:
        size = min(_STAGE, count - begin)
        for k in range(size):
            number = numbers[begin + _u64(k)]
            block = top[min(number >> _PAGE, last_page)]
            first = sub[block + ((number >> _BLOCK) & _IN_PAGE)]
            index[k] = _u32(first + ((number >> _GRANULE) & _IN_BLOCK))
            low[k] = _u32(number & _IN_GRANULE)
        for k in range(size):
            prefetch(entries, index[k])
        for k in range(size):
            e = entries[_u64(index[k])]
            entry[k] = e
            c = (_u64(low[k]) * _FACTOR) >> _FACTOR_SHIFT
            at = ((e >> _PLACE_SHIFT) & _PLACE) + popcount(e & ((_ONE << c) - _ONE))
            word[k] = _u32(at * ((e >> c) & _ONE))
            row[k] = np.uint16(e >> _ROW)
        n_asked = _ZERO
        for k in range(size):
            prefetch(heap, word[k])
            asked[n_asked] = _u32(k)
            n_asked += _u64(word[k] != 0)
        n_mixed = _ZERO
        for k in range(size):
            mixed[n_mixed] = _u32(k)
            n_mixed += _u64(row[k] == _MIXED)
        for k in range(size):
            rows[begin + _u64(k)] = row[k]
        for k in range(n_mixed):
            i = _u64(mixed[k])
            at = ((entry[i] >> _PLACE_SHIFT) & _PLACE) - _STRIPS
            prefetch(strips, at * _HALVES + (_u64(low[i]) >> _STRIP))
        for k in range(n_asked):
            i = _u64(asked[k])
            content = heap[_u64(word[i])]
            x = _u64(low[i])
            bit = x - ((x * _FACTOR) >> _FACTOR_SHIFT) * _CELL
            e = entry[i]
            first_code = ((e >> _PLACE_SHIFT) & _PLACE) + popcount(e & _CELLS)
            rank = (content >> _RANK) + popcount(content & ((_ONE << bit) - _ONE))
            code[k] = ((first_code << code_shift) + rank) * ((content >> bit) & _ONE)
        n_found = _ZERO
        for k in range(n_asked):
            prefetch(codes, code[k] << wide)
            found[n_found] = asked[k]
            place[n_found] = code[k]
            n_found += _u64(code[k] != _ZERO)
        for k in range(n_mixed):
            i = _u64(mixed[k])
            number = numbers[begin + i]
            at = ((entry[i] >> _PLACE_SHIFT) & _PLACE) - _STRIPS
            r = strips[at * _HALVES + (_u64(low[i]) >> _STRIP)]
            if r == _MIXED:
                r = range_route[_u64(np.searchsorted(range_start, number, side="right") - 1)]
            rows[begin + i] = r
        if wide:
            # A code is the row itself.
            for k in range(n_found):
                rows[begin + _u64(found[k])] = strips[place[k]]
        else:
            for k in range(n_found):
                start = dictionary_start[_u64(index[_u64(found[k])]) >> group_shift]
                place[k] = _u64(start) + _u64(codes[place[k]])
            for k in range(n_found):
                rows[begin + _u64(found[k])] = dictionary[place[k]]
        begin += _STAGE
    for k in range(count):
        if numbers[_u64(k)] - _ONE >= _LAST:
            rows[_u64(k)] = _INVALID


def _distinct(rows: Any, marks: Any, place_of: Any, distinct: Any, times: Any, places: Any) -> Any:  # noqa: ANN401 - numba infers types
    """Find the distinct rows, ascending, and for each of n rows its place among them.

    ``rows``: unsigned[n]. ``marks``: uint64, zeros, a byte for each row that there can be.
    ``place_of``: uint32, an entry for each of them, with any content. Writes the distinct rows,
    how often each occurs and the place of each number's row; returns how many are distinct.
    """
    count = _u64(len(rows))
    marked = carray(_at_u8(_u64(marks.ctypes.data)), (1,))
    for k in range(count):
        marked[_u64(rows[_u64(k)])] = np.uint8(1)
    found = _ZERO
    for k in range(_u64(len(marks))):
        word = _u64(k)
        left = marks[word]
        while left != _ZERO:
            row = word * _BYTES + (popcount(~left & (left - _ONE)) >> _BYTE)
            place_of[row] = _u32(found)
            distinct[found], times[found] = np.int64(row), 0
            left &= left - _ONE
            found += _ONE
    for k in range(count):
        place = place_of[_u64(rows[_u64(k)])]
        places[_u64(k)] = place
        times[_u64(place)] += 1
    return found


class Compiled(NamedTuple):
    """The compiled functions."""

    lookup: Callable[..., None]
    distinct: Callable[..., int]


def compile_all() -> Compiled:
    """Return the functions, ready to run."""
    asked = types.Array(types.uint64, 1, "C", readonly=True, aligned=False)
    narrow, wide, flat = types.uint16[::1], types.uint32[::1], types.int64[::1]
    lookup = types.void(types.uint64[::1], asked, narrow)
    distinct = [
        types.uint64(rows, types.uint64[::1], wide, flat, flat, wide) for rows in (narrow, wide)
    ]
    return Compiled(_compile(_lookup, [lookup]), _compile(_distinct, distinct))


def _compile(function: Callable[..., Any], signatures: list[Any]) -> Callable[..., Any]:
    options = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
    compiled: Callable[..., Any]
    try:
        compiled = njit(signatures, cache=True, **options)(function)
    except RuntimeError:
        # There is no folder for the cache that can be written.
        compiled = njit(signatures, **options)(function)
    return compiled
