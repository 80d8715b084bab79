"""A generated registry replayed into a real store, held against a plain dictionary at each step."""

from __future__ import annotations

import dataclasses
import random
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from numroute.errors import InputError
from numroute.index import SnapshotStore
from numroute.index.store import Retention
from numroute.model import Status
from numroute_loader.gate.limits import GateLimits, read_limits
from numroute_loader.generate import GeneratedRegistry
from numroute_loader.pipeline import Checked, check, publish
from numroute_loader.registries import built_in_limits
from support.dict_registry import DictRegistry, plan_of, rows_of

COUNTRY = 70_000_000_000
WINDOWS = 12
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Day:
    """The dumps of a midnight and the windows of the day that begins with it."""

    operators: Path
    numbering_plan: Path
    port_all: Path
    windows: list[tuple[Path, Path]]


def days_of(registry: GeneratedRegistry) -> list[Day]:
    """Return the days of a generated registry; the last one has no windows."""
    paths = [*registry.paths, *registry.following]

    def of(kind: str) -> list[Path]:
        return [path for path in paths if re.match(rf"{kind}_\d", path.name)]

    windows = list(zip(of("Port_Increment"), of("Return_Increment"), strict=True))
    return [
        Day(*dumps, windows=windows[WINDOWS * day : WINDOWS * (day + 1)])
        for day, dumps in enumerate(
            zip(of("Operators"), of("Numbering_plan"), of("Port_All"), strict=True)
        )
    ]


@dataclass
class Replay:
    """A store, the oracle of what it must say, and the numbers that are asked after each step."""

    store: SnapshotStore
    limits: GateLimits
    folder: Path
    oracle: DictRegistry = field(default_factory=DictRegistry)
    steps: int = 0
    asked: int = 0

    @classmethod
    def of(cls, folder: Path, days: Sequence[Day], limits: GateLimits, extra: int) -> Replay:
        """Prepare an empty store; ask all numbers that ever occur, neighbours, and some others."""
        store = SnapshotStore(folder / "store", create=True, retention=Retention(last=3, daily=0))
        replay = cls(store=store, limits=limits, folder=folder)
        replay._plan = plan_of(days[0].numbering_plan)
        occurring: set[int] = set()
        for day in days:
            occurring |= {int(row["Number"]) for row in rows_of(day.port_all)}
            for window in day.windows:
                occurring |= {int(row["Number"]) for path in window for row in rows_of(path)}
        dice = random.Random(1)
        others = {dice.choice((-1, 1)) + number for number in occurring}
        for first, last, *_ in replay._plan:
            others |= {first - 1, first, last, last + 1}
            others |= {dice.randint(first, last) for _ in range(extra)}
        replay._universe = sorted(occurring | others)
        replay._numbers = np.array(replay._universe, np.uint64) + np.uint64(COUNTRY)
        replay._home = [replay._holder(number) for number in replay._universe]
        return replay

    def _holder(self, number: int) -> tuple[str, ...]:
        for first, last, operator, region in self._plan:
            if first <= number <= last:
                return ("NOT_PORTED", operator, region)
        return ("UNALLOCATED",)

    def agree(self) -> None:
        """Assert that the current snapshot answers every number as the oracle does."""
        ported = self.oracle.ported
        with self.store.open() as snapshot:
            rows = snapshot.lookup(self._numbers).route.tolist()
            said = {}
            for row in set(rows):
                route = snapshot.route(row)
                where = (route.operator.code, route.region.code)
                if route.status is Status.PORTED:
                    said[row] = ("PORTED", *where, route.registry_mnc, route.routing_number)
                elif route.status is Status.NOT_PORTED:
                    said[row] = ("NOT_PORTED", *where)
                else:
                    said[row] = (route.status.name,)
            count = snapshot.metadata.counts["ported"]
        wrong = []
        for number, row, home in zip(self._universe, rows, self._home, strict=True):
            served = ported.get(number)
            expected = (
                ("PORTED", served.operator, served.region, served.mnc, served.route)
                if served is not None
                else home
            )
            if said[row] != expected:
                wrong.append((number, expected, said[row]))
        assert not wrong, (self.steps, len(wrong), wrong[:3])
        assert count == len(ported)
        self.steps += 1
        self.asked += len(rows)

    def judge(self, day: Day, dump: Path | None = None) -> Checked:
        """Judge a day's files, perhaps with another full dump."""
        paths = (day.operators, day.numbering_plan, dump or day.port_all)
        inputs = list(paths)
        return check(inputs, self.store, increments=False, limits=self.limits)

    def build(self, day: Day, dump: Path | None = None) -> None:
        """Build a day's full dump, which replaces everything."""
        publish(self.store, self.judge(day, dump))
        self.oracle.load(dump or day.port_all)
        self.agree()

    def apply(self, *paths: Path) -> Checked:
        """Apply increments; tell the oracle of the windows that were applied."""
        inputs = list(paths)
        checked = check(inputs, self.store, increments=True, limits=self.limits)
        if checked.new is not None:
            publish(self.store, checked)
        by_sequence = {}
        for path in paths:
            kind = "port" if path.name.startswith("Port") else "return"
            by_sequence[int(path.stem.split("_")[-1]), kind] = path
        for sequence in checked.windows:
            self.oracle.apply(by_sequence[sequence, "port"], by_sequence[sequence, "return"])
        self.agree()
        return checked

    def refused(self, day: Day, dump: Path, error: type[Exception], message: str) -> None:
        """Assert that a full dump is refused, and that nothing else happens."""
        before = self.store.current_id()
        with pytest.raises(error, match=message):
            publish(self.store, self.judge(day, dump))
        assert self.store.current_id() == before
        self.agree()

    def unusable(self, paths: Iterable[Path], message: str) -> None:
        """Assert that increments cannot be read, and that nothing else happens."""
        before = self.store.current_id()
        with pytest.raises(InputError, match=message):
            self.apply(*paths)
        assert self.store.current_id() == before
        self.agree()

    def command(self, *words: object, status: int = 0) -> str:
        """Run ``numroute-load`` as a process of its own; return what it printed."""
        limits = self.folder / "limits.toml"
        limits.write_text(
            "".join(
                f"{name} = {value}\n" for name, value in dataclasses.asdict(self.limits).items()
            )
        )
        ended = subprocess.run(
            [BIN / "numroute-load", words[0], "--store", self.store.path, "--limits", limits,
             *map(str, words[1:])],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == status, ended.stderr
        return ended.stdout + ended.stderr

    def spoiled(self, path: Path, data: bytes) -> Path:
        """Write other bytes under a file's name, in a folder of this step."""
        folder = self.folder / f"spoiled-{self.steps}"
        folder.mkdir(exist_ok=True)
        (folder / path.name).write_bytes(data)
        return folder / path.name

    def rezipped(self, path: Path, text: bytes) -> Path:
        """Write another text into a zip of the same names."""
        folder = self.folder / f"spoiled-{self.steps}"
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / path.name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.with_suffix(".csv").name, text)
        return folder / path.name


def scaled_limits(movement: int) -> GateLimits:
    """Return the built-in limits, with so many numbers as the movement that is never too much."""
    return dataclasses.replace(
        read_limits(built_in_limits(), None),
        movement_numbers_min=movement,
        operator_change_numbers_min=movement,
        drift_numbers_min=movement,
    )


def text_of(path: Path) -> bytes:
    """Return the CSV in a zip."""
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.namelist()
        return archive.read(member)


def small_plan(path: Path, ranges: int, size: int) -> Path:
    """Write an open-data plan of mobile ranges of three holders, with gaps between them."""
    holders = (
        ('ПАО "МТС"', "7740000076"),
        ('ПАО "МЕГАФОН"', "7812014560"),
        ('ПАО "ВЫМПЕЛКОМ"', "7713076301"),
    )
    lines = ["АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН"]
    for place in range(ranges):
        first = place * (size + 1000)
        name, tax_number = holders[place % len(holders)]
        lines.append(
            f"916;{first:07d};{first + size - 1:07d};{size};{name};г. Москва;г. Москва;{tax_number}"
        )
    path.write_text("\n".join(lines), "utf-8-sig")
    return path
