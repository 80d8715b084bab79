"""A numbering plan, synthetic or real, and who takes part: operators and regions.

Codes, names, tax numbers and MNCs of ``operators.csv`` and ``regions.csv`` restate public tables
where those name them (registries.md, 1). Other operator codes are made up in the same style, and
so are the codes 85 to 88 of the regions that the registry added after 2022. Weights are round
figures of the right order.

``codes.csv`` gives per code (9xx mobile; 3xx, 4xx and 8xx fixed and service) the allocated numbers
in thousands, the number of ranges, how many of these are shreds (per cent), the owner and its share
of the allocated numbers (per cent), the areas of a mobile code, and region, city and place of a
fixed one. Without an owner it is the incumbent's. Shreds are blocks of ranges of one to a few
numbers that alternate between two holders.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from numroute.errors import SettingError
from numroute_loader.generate.randomness import Stream, log_normal, share_out, weighted_table
from numroute_loader.reading.description import RouteKey
from numroute_loader.registries import read

_MNC_PERIOD = 5
"""An operator with several MNCs uses its second one in one region of five, and so on."""

_SEPARATORS = {"mncs": ",", "areas": ",", "spellings": "|", "plan_names": "|"}
"""The columns that hold several values."""

_Row = TypeVar("_Row")

CODE_SIZE = 10_000_000
"""Numbers behind one three-digit code."""

_UNNAMED_REGION = "-"
"""What the 2026 files write for a region that only the territory column names."""
_UNNAMED_ONE_IN = 60

_LOCAL_FIRST, _SERVICE_FIRST = 2_000_000, 1_000_000
"""Local numbers begin with 2 to 9; those behind a service code with 1 to 9."""

_SIZE_SIGMA = 2.0
_LARGE, _LARGE_STEP, _STEP = 200_000, 10_000, 10
"""Large ranges are multiples of the large step, the others of the step."""
_ONE_GAP_IN = 6
"""Free numbers lie before one range of six that are not shreds."""
_SHRED_SIZES = np.repeat(
    np.array([1, 2, 3, 4, 5, 6, 8, 10, 20, 50], np.int64), [66, 13, 6, 4, 3, 2, 2, 2, 1, 1]
)
_BLOCK = 100
"""Numbers in a block of shreds."""
_EVEN_RANGES = 1000
"""From this many ranges on, owner and guests hold ranges of the same sizes."""
_LOCAL_NAMES = ("телеком", "связь", "-Онлайн", "-Инфо", " Нет", "-Линк")
_LOCAL_WEIGHT = 18

# The first column's "АВС" is Cyrillic, in the real files too.
_HEADER = "АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН"


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """An operator and its weight in the market; one of fixed networks has no code.

    ``mncs``: the usual one first. ``name``: as in the Operators dump, quotes included;
    ``spellings``: as in the numbering plan, the usual one first. ``areas``: where the operator
    works; empty means everywhere. ``gain``: weight among recipients. ``loss``: how readily its
    subscribers leave, per cent of the average. ``since``: first year in which it can receive
    numbers. ``capacity``: weight among the smaller holders of a numbering code.
    """

    code: str = ""
    tax_number: str = ""
    mncs: tuple[str, ...] = ()
    name: str = ""
    spellings: tuple[str, ...]
    areas: tuple[str, ...] = ()
    gain: int = 0
    loss: int = 0
    since: int = 0
    capacity: int = 0

    def mnc_in(self, region: int) -> str:
        """Return the MNC that the operator uses in a region, given by index."""
        place = region % _MNC_PERIOD
        return self.mncs[place] if place < len(self.mncs) else self.mncs[0]

    def works_in(self, area: str) -> bool:
        """Return whether the operator has a network there."""
        return not self.areas or area in self.areas


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A region as the registry numbers it and as the plan's two columns name it."""

    code: str
    territory: str
    plan_names: tuple[str, ...]
    area: str
    people: int


class Market(NamedTuple):
    """All operators and regions; arrays of the generator hold indexes into these."""

    operators: tuple[Operator, ...]
    regions: tuple[Region, ...]

    @property
    def areas(self) -> tuple[str, ...]:
        """The distinct areas, in the order of the regions."""
        return tuple(dict.fromkeys(region.area for region in self.regions))

    @property
    def area_of(self) -> NDArray[np.int64]:
        """Each region's index into ``areas``."""
        return np.array([self.areas.index(region.area) for region in self.regions])


def load_market() -> Market:
    """Read the package's own tables."""
    return Market(_read_table("operators", Operator), _read_table("regions", Region))


def _read_table(name: str, kind: type[_Row]) -> tuple[_Row, ...]:
    """Read one of the package's own tables: ``;`` between fields, quotes are data."""
    path = Path(__file__).with_name(f"{name}.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [
            {
                column: list(filter(None, cell.split(_SEPARATORS[column])))
                if column in _SEPARATORS
                else cell
                for column, cell in row.items()
            }
            for row in csv.DictReader(lines, delimiter=";", quoting=csv.QUOTE_NONE)
        ]
    return msgspec.convert(tuple(rows), tuple[kind, ...], strict=False)  # type: ignore[valid-type]


class PlanRow(NamedTuple):
    """A row of an open-data plan file; ``first`` and ``last`` are ten-digit national numbers.

    ``holder`` and ``region`` are indexes, ``texts`` the cells behind the range's size.
    """

    first: int
    last: int
    holder: int
    region: int
    texts: str


class MobileRanges(NamedTuple):
    """Mobile ranges with their holders, ascending, not overlapping; all columns are int64[m].

    ``first``, ``last``: ten-digit national numbers, inclusive. ``operator``, ``region``: indexes
    into the market.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    operator: NDArray[np.int64]
    region: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Numbers per range."""
        return self.last - self.first + 1


class _Code(msgspec.Struct, kw_only=True):
    """A row of ``codes.csv``: a mobile, a local or, without owner and region, a service."""

    code: int
    thousands: int
    ranges: int
    shreds: int
    owner: str
    share: int
    areas: tuple[str, ...]
    region: str
    city: str
    place: str

    @property
    def first(self) -> int:
        """The code's first number."""
        begin = 0 if self.owner else _LOCAL_FIRST if self.region else _SERVICE_FIRST
        return self.code * CODE_SIZE + begin

    def is_of(self, region: Region) -> bool:
        """Return whether ranges of the code may lie in the region."""
        return region.code == self.region or bool(
            self.owner and (not self.areas or region.area in self.areas)
        )


def synthetic_plan(market: Market, seed: int) -> tuple[MobileRanges, list[PlanRow]]:
    """Return the mobile ranges, and the rows of all plan files, ascending."""
    incumbent, *others = _read_table("fixed_operators", Operator)
    # The incumbent owns every code, so it is never a guest. Small operators are named by the city.
    local = [
        Operator(spellings=(f'ООО "{{city}}{name}"',), capacity=_LOCAL_WEIGHT)
        for name in _LOCAL_NAMES
    ]
    fixed_holders = [msgspec.structs.replace(incumbent, capacity=0), *others, *local]
    fixed = _Cutter(market, fixed_holders, Stream(seed, "fixed plan"))
    mobile = _Cutter(market, market.operators, Stream(seed, "mobile plan"))
    rows, mobile_rows = [], []
    for code in _read_table("codes", _Code):
        cut = (mobile if code.owner else fixed).rows(code)
        rows += cut
        mobile_rows += [row[:4] for row in cut] if code.owner else []
    return MobileRanges(*np.array(mobile_rows, np.int64).T), rows


class _Cutter:
    """Cuts codes into ranges and gives each a holder and a region."""

    def __init__(self, market: Market, holders: Sequence[Operator], stream: Stream) -> None:
        self._market, self._holders, self._stream = market, holders, stream
        self._sizes = log_normal(_SIZE_SIGMA, 1000)
        # For each area the holders that work there, weighted; the last row is for no area.
        self._guests = np.stack(
            [
                weighted_table([h.capacity if h.works_in(area) else 0 for h in holders])
                for area in (*market.areas, "")
            ]
        )
        self._area_of = np.append(market.area_of, len(market.areas))

    def rows(self, code: _Code) -> list[PlanRow]:
        """Cut a code and return its rows."""
        stream, market = self._stream, self._market
        sizes, block = self._cut(code)
        last = code.first + np.cumsum(sizes + self._gaps(code, block)) - 1
        regions = [i for i, region in enumerate(market.regions) if code.is_of(region)]
        region = np.full(len(sizes), -1)
        if regions:
            people = weighted_table([market.regions[i].people for i in regions])
            region = np.array(regions)[stream.pick(people, len(sizes))]
        # A block of shreds lies in one region and alternates between two guests.
        shred = block >= 0
        region[shred] = region[0]
        place = stream.pick(np.arange(self._guests.shape[1]), len(sizes))
        owner = [each.code for each in self._holders].index(code.owner) if code.owner else 0
        holder = np.where(
            self._is_guest(code, sizes), self._guests[self._area_of[region], place], owner
        )
        pairs = stream.pick(self._guests[self._area_of[region[0]]], 2 * (int(block.max()) + 1))
        holder[shred] = pairs[2 * block[shred] + np.flatnonzero(shred) % 2]
        territory = market.regions[regions[0]].territory if regions else code.place
        columns = (last - sizes + 1, last, holder, region, stream.words(len(sizes)))
        return [
            PlanRow(one, end, at, there, self._texts(code, territory, at, there, word))
            for one, end, at, there, word in zip(*(c.tolist() for c in columns), strict=True)
        ]

    def _cut(self, code: _Code) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each range's size and its block of shreds (-1: none), in number order."""
        stream, allocated = self._stream, code.thousands * 1000
        shreds = code.ranges * code.shreds // 100
        per_block = _BLOCK * len(_SHRED_SIZES) // int(_SHRED_SIZES.sum())
        blocks = min(shreds // per_block, allocated // _BLOCK // 2)
        numbers = allocated - blocks * _BLOCK
        count = max(1, code.ranges - (shreds if blocks else 0))
        whole = share_out(numbers, stream.pick(self._sizes, count))
        step = np.where(whole >= _LARGE, _LARGE_STEP, _STEP)
        whole = np.maximum(whole // step * step, _STEP)
        # What rounding took or gave is the largest range's.
        whole[int(np.argmax(whole))] += numbers - int(whole.sum())
        items = [(whole[i : i + 1], -1) for i in range(count)]
        for block in range(blocks):
            ends = np.minimum(np.cumsum(stream.pick(_SHRED_SIZES, _BLOCK)), _BLOCK)
            items.append((np.diff(ends[: int(ends.searchsorted(_BLOCK)) + 1], prepend=0), block))
        items = [items[i] for i in stream.order(len(items))]
        sizes = np.concatenate([sizes for sizes, _ in items])
        return sizes, np.repeat([block for _, block in items], [len(sizes) for sizes, _ in items])

    def _gaps(self, code: _Code, block: NDArray[np.int64]) -> NDArray[np.int64]:
        """Spread the free numbers before some ranges; a part of the same size ends the code."""
        gaps = np.zeros(len(block), np.int64)
        free = CODE_SIZE - code.first % CODE_SIZE - code.thousands * 1000
        candidates = np.flatnonzero(block < 0)
        chosen = self._stream.order(len(candidates))[: len(candidates) // _ONE_GAP_IN]
        gaps[candidates[chosen]] = free // (len(chosen) + 1) // _STEP * _STEP
        return gaps

    def _is_guest(self, code: _Code, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Choose ranges of other holders up to their share, preferably the small ones."""
        preference = self._stream.pick(self._sizes, len(sizes))
        if code.ranges < _EVEN_RANGES:
            preference *= sizes
        order = np.argsort(preference, kind="stable")
        guest = np.zeros(len(sizes), np.bool_)
        guest[order] = np.cumsum(sizes[order]) <= code.thousands * 10 * (100 - code.share)
        return guest

    def _texts(self, code: _Code, territory: str, holder: int, region: int, word: int) -> str:
        operator = self._holders[holder]
        # The usual spelling in two rows of three.
        name = operator.spellings[word % 3 // 2 % len(operator.spellings)]
        name = name.format(city=code.city or code.place)
        # A tax number of office 00, which does not exist.
        made_up = f"00{zlib.crc32(f'{code.first}{name}'.encode()) % 10**8:08d}"
        place = code.place
        if not place:
            there, word = self._market.regions[region], word >> 8
            territory = there.territory
            place = there.plan_names[word // _UNNAMED_ONE_IN % len(there.plan_names)]
            place = place if word % _UNNAMED_ONE_IN else _UNNAMED_REGION
        return f"{name};{place};{territory};{operator.tax_number or made_up}"


def plan_file(rows: Sequence[PlanRow], leading_digit: int) -> bytes:
    """Return the plan file of all codes with this leading digit, as its publisher writes it.

    UTF-8 with BOM; lines end in LF, the last one in nothing (registries.md, 2).
    """
    lines = [_HEADER]
    for first, last, _, _, texts in rows:
        code, low = divmod(first, CODE_SIZE)
        if code // 100 == leading_digit:
            lines.append(f"{code};{low:07d};{last % CODE_SIZE:07d};{last - first + 1};{texts}")
    return "\n".join(lines).encode("utf-8-sig")


_COUNTRY_BASE = 70_000_000_000

_REGION_UNKNOWN = "77"
"""Region code of ranges that name no region, or the whole country."""


def read_real_plan(paths: Sequence[Path], market: Market) -> tuple[MobileRanges, Market]:
    """Return the mobile ranges of plan files, and the market with the holders that it lacked.

    Files may be of any vintage; other ranges are passed over, because only mobile numbers are
    ported. Raises InputError when a file cannot be read as a plan, SettingError when there is no
    mobile range in the files, or a number is in two of them.
    """
    rows: list[tuple[int, int, int, int]] = []
    operators = list(market.operators)
    index_of: dict[str, int] = {}
    for index, operator in enumerate(operators):
        for identity in (operator.code, operator.tax_number, *operator.spellings):
            index_of.setdefault(identity.casefold(), index)

    def holder(key: RouteKey) -> int:
        """Find the operator of a range, and make one where the market has none."""
        names = (key.operator_code, key.tax_number, key.operator_name)
        identities = [name.casefold() for name in names if name]
        index = next((index_of[each] for each in identities if each in index_of), len(operators))
        if index == len(operators):
            code = key.operator_code or f"mNEW{index - len(market.operators) + 1}"
            mnc = key.registry_mnc or f"{zlib.crc32(code.encode()) % 100:02d}"
            operators.append(
                Operator(
                    code=code,
                    tax_number=key.tax_number,
                    mncs=(mnc,),
                    name=key.operator_name or code,
                    spellings=(key.operator_name,),
                    gain=2,
                    loss=50,
                    since=2013,
                )
            )
        for each in identities:
            index_of.setdefault(each, index)
        return index

    for path in paths:
        ranges = read(path).ranges
        if ranges is None:
            raise SettingError(f"{path} is not a numbering plan", hint="Give DEF or ABC files")
        first, last = (
            each.astype(np.int64) - _COUNTRY_BASE for each in (ranges.first, ranges.last)
        )
        mobile = first >= 900 * CODE_SIZE
        where = {
            index: (holder(ranges.keys[index]), _region(ranges.keys[index], market))
            for index in np.unique(ranges.key[mobile]).tolist()
        }
        columns = (column[mobile].tolist() for column in (first, last, ranges.key))
        rows += [(begin, end, *where[key]) for begin, end, key in zip(*columns, strict=True)]
    if not rows:
        raise SettingError("the plan has no mobile range", hint="Give a DEF-9xx file as well")
    held = MobileRanges(*np.array(sorted(rows), np.int64).T)
    if (held.first[1:] <= held.last[:-1]).any():
        raise SettingError("two plan files hold the same range", hint="Give one vintage only")
    return held, Market(tuple(operators), market.regions)


def _region(key: RouteKey, market: Market) -> int:
    """Return the region that a plan names by code or by its usual name."""
    name = key.region_name.rpartition("|")[2]
    known = (
        index
        for index, region in enumerate(market.regions)
        if key.region_code == region.code or name in (region.territory, *region.plan_names)
    )
    return next(known, [region.code for region in market.regions].index(_REGION_UNKNOWN))
