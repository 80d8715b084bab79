"""The rows of a file as arrays, block by block: the good ones, and the faults of the others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.errors import InputError
from numroute_loader.reading.columns import (
    ID_TYPE,
    TEXT_TYPE,
    TIME_TYPE,
    Codes,
    codes_of,
    combined,
    ids_of,
    numbers_of,
    seconds_of,
)
from numroute_loader.reading.csv_stream import (
    LINE_BYTES_MAX,
    Block,
    CsvFile,
    Fault,
    batch_of,
    line_at,
    parsed_in_order,
    sound_lines,
)
from numroute_loader.reading.description import (
    STRICT,
    NamedLayout,
    OperatorLayout,
    Progress,
    RecordLayout,
    RegistryFile,
    SourceFile,
    TextColumn,
    Tolerance,
)

ROWS_MAX = 2**30
"""How many rows a dump may have: as many records as an index holds."""

TIME_SHAPE = "a time from 1970 to 2106, like 2016-09-07T12:00:17+03:00"

REMEDY = "The file is damaged or cut short: download it again"

_PLACES_MAX = 5
"""How many skipped rows are named."""

_COUNT = re.compile(rb"[0-9]{1,20}")


@dataclass(slots=True, kw_only=True)
class Rows:
    """The good rows of a ``block``, and the faults of the others.

    ``numbers``, ``last``: whole E.164 numbers; ``time``: seconds since 1970 UTC. ``home``: whether
    the number is back with its range holder. What a file does not have is None.
    """

    block: Block
    numbers: NDArray[np.uint64]
    last: NDArray[np.uint64] | None = None
    route: Codes | None = None
    donor: Codes | None = None
    home: NDArray[np.bool_] | None = None
    time: NDArray[np.uint32] | None = None
    order_id: NDArray[np.uint64] | None = None
    faults: list[Fault] = field(default_factory=list)


class Check(NamedTuple):
    """The rows that a column makes bad, and why; the reason quotes no number."""

    bad: NDArray[np.bool_]
    reason: str


class BlockParser:
    """Makes rows of blocks. Keeps nothing between blocks, so that threads can share it."""

    delimiter = ","

    def __init__(
        self, header: Sequence[str], types: Mapping[str, pa.DataType], reason: str
    ) -> None:
        """Read these columns; ``reason`` says what is wrong with a line of ``{found}`` columns."""
        self._header = header
        self._types = types
        self._reason = reason

    def columns(self, batch: pa.RecordBatch, block: Block) -> tuple[Rows, list[Check]]:
        """Return the rows of a batch and the checks of its columns."""
        raise NotImplementedError

    def parse(self, block: Block) -> Rows:
        """Return the good rows of a block with the faults of the others, in order."""
        batch = batch_of(block.data, self._header, self._types, delimiter=self.delimiter)
        if batch is not None:
            rows, checks = self.columns(batch, block)
            if not any(check.bad.any() for check in checks):
                return rows
        sound = sound_lines(
            block.data, columns=len(self._header), delimiter=self.delimiter, reason=self._reason
        )
        texts = dict.fromkeys(self._types, TEXT_TYPE)
        batch = batch_of(sound.data, self._header, texts, delimiter=self.delimiter)
        if batch is None:
            faults = [Fault(line=0, reason="this line, or one after it, cannot be parsed")]
            return Rows(block=block, numbers=np.empty(0, np.uint64), faults=faults)
        rows, checks = self.columns(batch, block)
        bad = np.logical_or.reduce([check.bad for check in checks])
        faults = sound.faults + [
            Fault(
                line=int(sound.line[row]),
                reason=next(check.reason for check in checks if check.bad[row]),
            )
            for row in bad.nonzero()[0].tolist()
        ]
        if bad.any():
            lines = [line for line in sound.data.splitlines(keepends=True) if line.strip()]
            good = b"".join(line for line, is_bad in zip(lines, bad, strict=True) if not is_bad)
            rows = self.parse(Block(data=good, offset=block.offset))
        rows.block = block
        rows.faults = sorted(faults, key=lambda fault: fault.line)
        return rows


class RecordParser(BlockParser):
    """Makes rows of blocks whose cells are numbers, times and codes."""

    def __init__(self, header: Sequence[str], layout: RecordLayout) -> None:
        """Read the layout's columns, wherever the header has them."""
        numbers = [name for name in (layout.number, layout.last) if name]
        types = dict.fromkeys([*numbers, *(text.name for text in layout.texts)], TEXT_TYPE)
        for name, kind in ((layout.time, TIME_TYPE), (layout.order_id, ID_TYPE)):
            if name:
                types[name] = kind
        reason = f"the row has {{found}} columns, the header has {len(header)}"
        super().__init__(header, types, reason)
        self._layout = layout
        self._good: dict[str, set[bytes]] = {text.name: set() for text in layout.texts}

    def columns(self, batch: pa.RecordBatch, block: Block) -> tuple[Rows, list[Check]]:
        """Return numbers, times and combinations of codes."""
        layout = self._layout
        numbers, check = self._numbers(batch, layout.number)
        rows, checks = Rows(block=block, numbers=numbers), [check]
        if layout.last:
            rows.last, check = self._numbers(batch, layout.last)
            backward = f"{layout.number} is greater than {layout.last}"
            checks += [check, Check(numbers > rows.last, backward)]
        codes = {text.name: codes_of(batch.column(text.name)) for text in layout.texts}
        for text in layout.texts:
            checks += self._codes(text, codes[text.name])
        if layout.order_id:
            rows.order_id, bad = ids_of(batch.column(layout.order_id))
            checks.append(Check(bad, f"{layout.order_id} is not a whole number"))
        if layout.time:
            rows.time, bad = seconds_of(batch.column(layout.time))
            checks.append(Check(bad, f"{layout.time} is not {TIME_SHAPE}"))
        if layout.routes:
            rows.route = combined([codes[text.name] for text in layout.routes])
        if layout.donor is not None:
            rows.donor = combined([codes[layout.donor.name]])
        if layout.routes and layout.range_holder is not None:
            pairs = combined([codes[layout.routes[0].name], codes[layout.range_holder.name]])
            rows.home = np.array([one == other for one, other in pairs.texts], np.bool_)[
                pairs.index
            ]
        return rows, checks

    def _numbers(self, batch: pa.RecordBatch, name: str) -> tuple[NDArray[np.uint64], Check]:
        number_format = self._layout.number_format
        numbers, bad = numbers_of(batch.column(name), number_format)
        return numbers, Check(bad, f"{name} is not {number_format.shape}")

    def _codes(self, text: TextColumn, codes: Codes) -> list[Check]:
        """Check the distinct codes of a column, each once in the file; usually all are known."""
        good = self._good[text.name]
        new = {place: cell for place, (cell,) in enumerate(codes.texts) if cell not in good}
        wrong = [place for place, cell in new.items() if not text.pattern.fullmatch(cell)]
        good.update(new[place] for place in new.keys() - set(wrong))
        if not wrong:
            return []
        return [Check(np.isin(codes.index, wrong), f"{text.name} is not {text.shape}")]


class NamedParser(BlockParser):
    """Makes rows of blocks whose lines are a number, a name in free text, and a row count.

    The name may hold the delimiter, so a line is taken apart from both ends. ``route`` is what
    follows the number, which is one of a few texts.
    """

    delimiter = "\x01"

    def __init__(self, layout: NamedLayout) -> None:
        """Read whole lines."""
        reason = f"{layout.operator_name} holds a control character"
        super().__init__(("line",), {"line": TEXT_TYPE}, reason)
        self._layout = layout

    def columns(self, batch: pa.RecordBatch, block: Block) -> tuple[Rows, list[Check]]:
        """Return the number of each line, and the rest of it as its route."""
        layout, lines = self._layout, batch.column("line")
        digits = layout.number_format.digits
        numbers, bad = numbers_of(pc.binary_slice(lines, 0, digits), layout.number_format)
        rest = codes_of(pc.binary_slice(lines, digits, digits + LINE_BYTES_MAX))
        faults: dict[str, list[int]] = defaultdict(list)
        for place, (text,) in enumerate(rest.texts):
            faults[self._rest_fault(text)].append(place)
        wrong = [Check(np.isin(rest.index, faults[why]), why) for why in faults if why]
        checks = [Check(bad, f"{layout.number} is not {layout.number_format.shape}"), *wrong]
        return Rows(block=block, numbers=numbers, route=rest), checks

    def _rest_fault(self, rest: bytes) -> str:
        layout = self._layout
        if rest and not rest.startswith(b","):
            return f"{layout.number} is not {layout.number_format.shape}"
        if rest.count(b",") < len(layout.columns) - 1:
            return f"the row has fewer columns than {','.join(layout.columns)}"
        count = rest.rpartition(b",")[2]
        if count and not (count.isdigit() and count.isascii()):
            return f"{layout.row_count} is not a whole number"
        name = name_in(rest)
        if not name:
            return f"{layout.operator_name} is empty"
        if min(name) < ord(" "):
            return f"{layout.operator_name} holds a control character"
        return ""


def name_in(rest: bytes) -> bytes:
    """Return the name in what follows the number of a line."""
    return rest[1:].rpartition(b",")[0].strip(b" ")


class OneEncoding:
    """Decodes the texts of one file, all of which must be in the same of a few encodings."""

    def __init__(self, encodings: Sequence[str]) -> None:
        """Try the encodings in this order."""
        self._encodings = encodings
        self._settled: str | None = None

    def decode(self, raw: bytes) -> str:
        """Return the text; raises ValueError when it is not in the encoding of those before it.

        ASCII fits every encoding and settles nothing. Cyrillic in windows-1251 is hardly ever valid
        UTF-8; the other way round it is valid gibberish. So the first encoding that fits is right.
        """
        if raw.isascii():
            return raw.decode("ascii")
        for encoding in self._encodings:
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError:
                continue
            if self._settled in (None, encoding):
                self._settled = encoding
                return text
            break
        if self._settled is None:
            raise ValueError(f"the text is not {' or '.join(self._encodings)}")
        raise ValueError(
            f"the text is not {self._settled}, as the lines before it are: mixed encodings"
        )


class RowReader:
    """Reads the rows of an open file, and checks its header and the row count that it states.

    ``stated`` is that count. Bad rows are counted in ``rejected_rows`` as far as they are
    tolerated, and the first of them named in ``rejected``.
    """

    def __init__(
        self,
        file: RegistryFile,
        layout: RecordLayout | NamedLayout | OperatorLayout,
        tolerance: Tolerance = STRICT,
        *,
        may_be_empty: bool = False,
    ) -> None:
        """Read the header, which has all columns of the layout, and the first row.

        ``may_be_empty``: a header alone is a file without rows. Raises InputError.
        """
        self.csv = CsvFile(file.archive)
        self.rejected_rows = 0
        self.rejected: list[str] = []
        self._file = file
        self._row_count = layout.row_count
        self._tolerance = tolerance
        self._refuse_ambiguous_header()
        self.stated = self._stated(may_be_empty=may_be_empty)

    def rows(self, parser: BlockParser, progress: Progress | None) -> Iterator[Rows]:
        """Yield the good rows of each block; raises InputError for a row that is not tolerated."""
        for rows in parsed_in_order(self.csv.blocks(progress), parser.parse):
            if rows.faults:
                self._reject(rows.block, rows.faults)
            yield rows

    def source(self, rows: int) -> SourceFile:
        """Describe the file after its last row; raises InputError when rows are missing."""
        rows += self.rejected_rows
        if rows != self.stated and not self._tolerance.row_count:
            what = "cut short" if rows < self.stated else "damaged"
            raise InputError(
                self._file.path,
                f"{self._row_count} says {self.stated}, the file holds {rows} rows: the file is "
                f"{what}",
                hint="Download it again",
            )
        return self._file.source(rows)

    def _reject(self, block: Block, faults: Sequence[Fault]) -> None:
        path, limit = self._file.path, self._tolerance.rejected_rows
        first = line_at(path, block.offset)
        for fault in faults:
            self.rejected_rows += 1
            line, reason = first + fault.line, fault.reason
            if self.rejected_rows <= _PLACES_MAX:
                self.rejected.append(f"{path}:{line}: {reason}")
            if self.rejected_rows > limit:
                if limit:
                    reason = f"more than {limit} rows are malformed; here {reason}"
                raise InputError(path, reason, line=line, hint=REMEDY)

    def _refuse_ambiguous_header(self) -> None:
        header = self.csv.header
        twice = sorted({column for column in header if header.count(column) > 1})
        if twice:
            reason = f"the header names {', '.join(twice)} twice"
            hint = f"A file of kind {self._file.kind.name} begins with {self._file.kind.expects}"
            raise InputError(self._file.path, reason, line=1, hint=hint)

    def _stated(self, *, may_be_empty: bool) -> int:
        """Return how many data rows the file states, in its first data row.

        It is the only integrity figure that a registry gives, so a file without it is refused. The
        column is counted from the right: a name in free text may hold the delimiter.
        """
        header, path, column = self.csv.header, self._file.path, self._row_count
        if not self.csv.first_row:
            if may_be_empty:
                return 0
            reason = "the file holds no rows, only a header"
            raise InputError(path, reason, line=1, hint="Download it again")
        cells = self.csv.first_row.split(b",")
        place = header.index(column) - len(header)
        cell = cells[place].strip() if len(cells) >= -place else b""
        if not cell:
            reason = f"the first data row has no {column}"
        elif not _COUNT.fullmatch(cell):
            reason = f"the first data row has a {column} that is not a whole number"
        elif int(cell) > ROWS_MAX:
            # Not quoted: in a damaged row it may be a subscriber's number.
            reason = f"{column} of the first data row exceeds the limit of {ROWS_MAX}"
        else:
            return int(cell)
        raise InputError(path, reason, line=2, hint=REMEDY)
