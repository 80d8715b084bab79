"""A generated registry whose every state is known from plain dictionaries alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numroute.index import Snapshot
from numroute_loader.generate import GenerateOptions, generate
from support.dict_registry import DictRegistry, plan_of, rows_of
from support.replay import WINDOWS, days_of, small_plan

COUNTRY = 70_000_000_000
DAYS = 2
PORTED = 3000
CHANGES_PER_WINDOW = 30
PROBES_MAX = 1000
"""What one Lookup takes."""
NOBODYS = 9_990_000_000
"""A number that no range holds."""

Answers = tuple[str, ...]
"""The operator of each probe."""


@dataclass(frozen=True)
class State:
    """How many windows the table stands behind the first full dump, and whether overridden.

    Windows at the end that changed nothing do not count: answers do not tell of them.
    """

    windows: int
    overridden: bool


class KnownRegistry:
    """Files of a registry, numbers to ask for, and the answers in each state that it can be in."""

    def __init__(self, folder: Path) -> None:
        """Generate the files and let a dictionary go through all of them."""
        folder.mkdir(parents=True)
        generated = generate(
            folder / "registry",
            GenerateOptions(
                ported=PORTED,
                days=DAYS,
                changes_per_window=CHANGES_PER_WINDOW,
                plan=[small_plan(folder / "DEF-9xx.csv", 6, 20_000)],
            ),
        )
        self.days = days_of(generated)
        self.windows = [window for day in self.days for window in day.windows]
        self._plan = plan_of(self.days[0].numbering_plan)
        named = sorted(
            {int(row["Number"]) for window in self.windows for path in window
             for row in rows_of(path)}
        )  # fmt: skip
        others = [first for first, *_ in self._plan] + [last + 1 for _, last, *_ in self._plan]
        registry = DictRegistry()
        registry.load(self.days[0].port_all)
        others += sorted(registry.ported.keys() - set(named))[::50]
        self.probes = sorted({*named, *others, NOBODYS})
        assert len(self.probes) <= PROBES_MAX
        self.question = np.array(self.probes, np.uint64) + np.uint64(COUNTRY)
        code = self._plan[0][2]
        self._overridden = dict.fromkeys((NOBODYS, named[0], named[-1] + 1), code)
        lines = [f"{COUNTRY + number},{code},250,99,fault,test" for number in self._overridden]
        self.overrides = folder / "overrides.csv"
        self.overrides.write_text(
            "\n".join(["number,operator,mcc,mnc,reason,author", *lines]) + "\n"
        )
        self.answers: dict[State, Answers] = {}
        self._note(0, registry)
        for done, window in enumerate(self.windows, 1):
            registry.apply(*window)
            self._note(done, registry)
        self.states: dict[Answers, State] = {}
        for state, answers in self.answers.items():
            self.states.setdefault(answers, state)
        changing = sum(any(map(rows_of, window)) for window in self.windows)
        assert len(self.states) == 2 * (1 + changing)
        for day, dumps in enumerate(self.days):
            registry.load(dumps.port_all)
            assert self._said(registry, {}) == self.answers[State(WINDOWS * day, overridden=False)]

    def at(self, windows: int, *, overridden: bool) -> State:
        """Return the state after so many windows."""
        return self.states[self.answers[State(windows, overridden)]]

    def _note(self, done: int, registry: DictRegistry) -> None:
        self.answers[State(done, overridden=False)] = self._said(registry, {})
        self.answers[State(done, overridden=True)] = self._said(registry, self._overridden)

    def _said(self, registry: DictRegistry, overridden: dict[int, str]) -> Answers:
        def operator(number: int) -> str:
            if number in overridden:
                return overridden[number]
            if number in registry.ported:
                return registry.ported[number].operator
            return next(
                (code for first, last, code, _ in self._plan if first <= number <= last), ""
            )

        return tuple(map(operator, self.probes))

    def state_of(self, snapshot: Snapshot) -> State:
        """Return the state that a snapshot answers from; KeyError when its answers are of none."""
        rows = snapshot.lookup(self.question).route.tolist()
        code = {row: snapshot.route(row).operator.code for row in set(rows)}
        return self.states[tuple(code[row] for row in rows)]

    def save(self, path: Path) -> None:
        """Write probes and answers for a program that shares no memory with this one."""
        path.write_text(
            json.dumps({"numbers": self.question.tolist(), "answers": [*self.answers.values()]})
        )
