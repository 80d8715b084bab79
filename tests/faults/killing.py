"""Kill commands that change a store at random moments, and check the store after each.

Run as a program: ``python tests/faults/killing.py --points N --seed S --folder DIR``. Every command
runs in a process of its own, forked from this one so that it starts in no time, and is killed with
SIGKILL: half of them at a random time, half just before a random one of the system calls that open,
flush, rename or remove a file. Another process looks numbers up all the time. The expected answers
come from dicts.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.bdpn import port_row, put_window, return_row  # noqa: E402
from support.registry import write_registry  # noqa: E402

from numroute.console import run  # noqa: E402
from numroute.index import Snapshot, SnapshotStore, verify_snapshot  # noqa: E402
from numroute_loader.cli import numroute_load  # noqa: E402
from numroute_loader.gate import OVERRIDABLE  # noqa: E402

PORTED = {9_000_000_000 + 3 * i: i for i in range(3000)}
OWNERS = {"A": ("mMTS", "mMEGAFON"), "B": ("mMEGAFON", "mMTS")}
MNC = {"mMTS": "01", "mMEGAFON": "02", "mTELE2": "20"}
FIRST_WINDOW = 12 * 4659 + 1
COMES, GOES = 9_000_000_001, 9_000_000_012
OVERRIDDEN = {9_000_000_006: "mTELE2", 9_990_000_000: "mMTS"}
PROBES = [
    *list(PORTED)[:20],
    *list(PORTED)[-20:],
    COMES,
    9_000_000_002,
    9_160_000_000,
    9_990_000_000,
]
QUESTION = np.array([70_000_000_000 + number for number in PROBES], np.uint64)

STEPS = ("open", "fsync", "rename", "unlink")
WEIGHTS = {"pin": 1, "unpin": 1, "prune": 2}

State = tuple[str, bool, bool]
"""Which dump, whether the increments are applied, whether there are overrides."""


def answers(state: State) -> tuple[str, ...]:
    """Return the operator of each probe in a state; by dicts alone."""
    dump, incremented, overridden = state
    served = {number: OWNERS[dump][i % 2] for number, i in PORTED.items()}
    if incremented:
        served[COMES] = "mMTS"
        del served[GOES]

    def operator(number: int) -> str:
        if overridden and number in OVERRIDDEN:
            return OVERRIDDEN[number]
        if number in served:
            return served[number]
        if number < 9_000_010_000:
            return "mTELE2"
        return "mMTS" if 9_160_000_000 <= number < 9_170_000_000 else ""

    return tuple(operator(number) for number in PROBES)


STATES = {
    answers(state): state
    for state in [
        (dump, incremented, overridden)
        for dump in OWNERS
        for incremented in (False, True)
        for overridden in (False, True)
    ]
}


def asked(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the operator that a snapshot gives to each probe."""
    rows = snapshot.lookup(QUESTION).route.tolist()
    return tuple(snapshot.route(row).operator.code for row in rows)


class Torture:
    """A store, the files of a registry, and the commands that are killed."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Write the files and build the first snapshot."""
        self.folder = folder
        self.store_path = folder / "store"
        self.rng = random.Random(seed)
        self.seconds: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        self.after: collections.Counter[str] = collections.Counter()
        for dump in OWNERS:
            write_registry(folder / dump, dump=self._dump(dump), abc=None)
        put_window(
            folder / "windows", FIRST_WINDOW,
            [port_row(COMES, "mMTS", region="77", time="2026-08-23T00:30:00+03:00")],
            [return_row(GOES, time="2026-08-23T00:40:00+03:00")],
        )  # fmt: skip
        lines = [f"7{number},{operator},fault,test" for number, operator in OVERRIDDEN.items()]
        (folder / "overrides.csv").write_text(
            "\n".join(["number,operator,reason,author", *lines]) + "\n"
        )
        allow = [word for check in OVERRIDABLE for word in ("--allow", check)]
        keep = ["--keep-last", "3", "--keep-daily", "0"]
        build = ["build", *allow, "--reason", "fault", *keep]
        self.actions: dict[str, list[str]] = {
            "build A": [*build, str(folder / "A")],
            "build B": [*build, str(folder / "B")],
            "apply": ["apply", *allow, "--reason", "fault", *keep, str(folder / "windows")],
            "override": ["override", "apply", *keep, str(folder / "overrides.csv")],
            "clear": ["override", "clear", *keep],
            "rollback": ["rollback", "previous"],
            "prune": ["prune", "--keep-last", "1"],
            "pin": ["pin", "previous"],
            "unpin": ["unpin", "previous"],
        }
        assert self.run("build A") == 0, self.said()
        self.store = SnapshotStore(self.store_path)

    def _dump(self, name: str) -> str:
        rows = []
        for place, (number, i) in enumerate(PORTED.items()):
            owner = OWNERS[name][i % 2]
            count = "" if place else len(PORTED)
            rows.append(
                f"{number},{owner},{MNC[owner]},D77{MNC[owner]},77,2018-05-03T00:03:29+03:00,{count}"
            )
        return "\r\n".join(["Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount", *rows, ""])

    def start(self, action: str, last_step: int = 0) -> int:
        """Start a command in a process of its own, which dies before its step of this number."""
        child = os.fork()
        if child:
            return child
        status = 70
        try:
            log = os.open(self.folder / "log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            self._count_steps(last_step)
            words = [*self.actions[action], "--store", str(self.store_path)]
            sys.argv = ["numroute-load", *words]
            status = run(numroute_load, "numroute-load")
            (self.folder / "steps").write_text(str(self._steps))
        finally:
            os._exit(status)

    def _count_steps(self, last_step: int) -> None:
        """Count this process's steps, and kill it before one of them."""
        self._steps = 0

        def counted(call):
            def step(*args, **kwargs):
                self._steps += 1
                if self._steps == last_step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)

            return step

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))

    def run(self, action: str) -> int:
        """Run a command to its end; return its exit status."""
        begun = time.perf_counter()
        _, status = os.waitpid(self.start(action), 0)
        took = time.perf_counter() - begun
        self.seconds[action] = max(took, self.seconds.get(action, took))
        # A command that found nothing to do takes fewer steps: the largest count is a whole run's.
        self.steps[action] = max(
            int((self.folder / "steps").read_text()), self.steps.get(action, 1)
        )
        return os.waitstatus_to_exitcode(status)

    def said(self) -> str:
        """Return what the last command printed."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def kill_in(self, action: str) -> bool:
        """Start a command and kill it at a random moment; return whether it was still running."""
        if self.rng.random() < 0.5:
            step = self.rng.randint(1, self.steps[action])
            _, status = os.waitpid(self.start(action, step), 0)
            return os.WIFSIGNALED(status)
        usual = self.seconds[action]
        # Publishing is the last part of each: it gets half of the points.
        share = self.rng.choice([self.rng.uniform(0, 1.1), self.rng.uniform(0.6, 1.05)])
        child = self.start(action)
        time.sleep(usual * share)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)

    def check(self, action: str, before: State, kept: set[str]) -> State:
        """Check the store after a kill; return the state that it is in."""
        store = self.store
        current = store.current_id()
        verify_snapshot(store.snapshot_path(current))
        with store.open() as snapshot:
            state = STATES[asked(snapshot)]
        allowed = {before}
        dump, incremented, overridden = before
        if action in {"build A", "build B"}:
            allowed.add((action[-1], False, overridden))
        elif action == "apply":
            allowed.add((dump, True, overridden))
        elif action in {"override", "clear"}:
            allowed.add((dump, incremented, action == "override"))
        elif action == "rollback":
            allowed |= set(STATES.values())
        assert state in allowed, (action, before, state)
        pruned = {e["snapshot"] for e in store.history() if e["event"] == "pruned"}
        lost = kept - set(store.ids()) - pruned
        assert not lost, (action, lost)
        assert store.current_at(datetime.now(UTC)) == current
        self.after["as before" if state == before else "as after"] += 1
        return state

    def recover(self) -> State:
        """Let one command run to its end: it works, and nothing of the crash is left."""
        assert self.run("apply") == 0, self.said()
        store = self.store
        # Where nothing was to apply, nothing was written, and the next writer cleans up.
        with store.writing():
            pass
        left = [path.name for path in store.path.rglob("*.unfinished")]
        assert not left, left
        assert store.read_history().moments()[-1].snapshot == store.current_id()
        assert not store.read_history().damaged
        with store.open() as snapshot:
            return STATES[asked(snapshot)]

    def read_forever(self) -> int:
        """Start a process that looks up until SIGTERM; its exit status is 0 when all was right."""
        child = os.fork()
        if child:
            return child
        ended = []
        signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
        status, rounds = 1, 0
        try:
            store = SnapshotStore(self.store_path)
            while not ended:
                with store.open() as snapshot:
                    for _ in range(20):
                        assert asked(snapshot) in STATES, asked(snapshot)
                        rounds += 1
            status = 0
        except BaseException as fault:  # noqa: BLE001 - the parent is told of everything
            (self.folder / "reader").write_text(repr(fault))
        finally:
            if status == 0:
                (self.folder / "reader").write_text(str(rounds))
            os._exit(status)


def torture(folder: Path, points: int, seed: int) -> dict[str, object]:
    """Kill ``points`` times; return what was done. Raises AssertionError on the first fault."""
    begun = time.perf_counter()
    it = Torture(folder, seed)
    for action in ("build B", "override", "apply", "rollback", "pin", "unpin", "prune", "clear"):
        it.run(action)
    it.recover()
    reader = it.read_forever()
    killed: collections.Counter[str] = collections.Counter()
    try:
        while killed.total() < points:
            weights = [WEIGHTS.get(action, 3) for action in it.actions]
            (action,) = it.rng.choices(list(it.actions), weights)
            with it.store.open() as snapshot:
                before = STATES[asked(snapshot)]
            kept = set(it.store.ids())
            if it.kill_in(action):
                killed[action] += 1
            it.check(action, before, kept)
            it.recover()
            if it.rng.random() < 0.3:
                # Otherwise nearly every state would be one with the increments applied.
                assert it.run(it.rng.choice(["build A", "build B"])) == 0, it.said()
    finally:
        os.kill(reader, signal.SIGTERM)
        _, status = os.waitpid(reader, 0)
    told = (folder / "reader").read_text()
    assert os.waitstatus_to_exitcode(status) == 0, f"the reader met {told}"
    return {
        "seed": seed,
        "killed": killed.total(),
        "killed_in": dict(sorted(killed.items())),
        "store_was": dict(sorted(it.after.items())),
        "batches_read_meanwhile": int(told),
        "seconds": round(time.perf_counter() - begun),
    }


def main() -> None:
    """Run and print the summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="Write the summary to this file too.")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    summary = torture(options.folder, options.points, options.seed)
    text = json.dumps(summary, indent=1)
    if options.report:
        options.report.write_text(text + "\n")
    print(text)  # noqa: T201 - a program's output


if __name__ == "__main__":
    main()
