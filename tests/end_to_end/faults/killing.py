"""Kill commands that change a store at random moments, and check the store after each.

Run as a program: ``python tests/end_to_end/faults/killing.py --points N --seed S --folder DIR``.
Every command runs in a process of its own, forked from this one so that it starts in no time, and
is killed with SIGKILL: half of them at a random time, half just before a random one of the system
calls that open, flush, rename or remove a file. Two witnesses ask all the time: a process that
reads the store, and one that asks a ``numroute serve`` (``witness.py``). The expected answers come
from dicts. SIGINT or SIGTERM ends a run early, with its summary.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from support.replay import BIN, WINDOWS  # noqa: E402
from support.states import KnownRegistry, State  # noqa: E402

from numroute.cli.group import run  # noqa: E402
from numroute.index import SnapshotStore, verify_snapshot  # noqa: E402
from numroute_loader.cli import numroute_load  # noqa: E402
from numroute_loader.gate.checks import OVERRIDABLE  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = ("open", "fsync", "rename", "unlink")
KINDS = {
    "build": ["build"],
    "apply": ["apply"],
    "override": ["override", "clear"],
    "rollback": ["rollback"],
    "prune": ["prune"],
    "pin": ["pin", "unpin"],
}
WEIGHTS = {"pin": 0.5}
"""The kind whose turn is next is the one that was killed least often; a pin is one small file."""
PUBLISHING = ("build", "apply", "override")
ALLOW = [word for check in OVERRIDABLE for word in ("--allow", check)]
KEEP = ["--keep-last", "4", "--keep-daily", "0"]
MORE_WINDOWS_MAX = 2
WORTH_PRUNING = 4
PAUSE_SECONDS = 0.02
BATCHES_OF_A_SNAPSHOT = 5
PROGRESS_EVERY = 10
START_SECONDS_MAX = 120


class Torture:
    """A store, the files of a registry, and the commands that are killed."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Write the files; the store stays empty."""
        self.folder = folder
        self.store = SnapshotStore(folder / "store", create=True)
        self.registry = KnownRegistry(folder / "files")
        self.rng = random.Random(seed)
        self.seconds: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        self.killed: collections.Counter[str] = collections.Counter()
        self.left: dict[str, collections.Counter[str]] = {
            kind: collections.Counter() for kind in KINDS
        }
        self.known: dict[str, State] = {}

    def state(self) -> State:
        """Return the state that the current snapshot answers from, by all of its answers."""
        with self.store.open() as snapshot:
            return self.registry.state_of(snapshot)

    def at(self, windows: int, before: State) -> State:
        """Return the state after so many windows; overridden if the one before is."""
        return self.registry.at(windows, overridden=before.overridden)

    def _build(self, day: int) -> list[str]:
        dumps = self.registry.days[day]
        files = (dumps.operators, dumps.numbering_plan, dumps.port_all)
        return ["build", *ALLOW, "--reason", "fault", *KEEP, *map(str, files)]

    def _apply(self, done: int, upto: int) -> list[str]:
        # One that has been applied is among them, as in any inbox.
        windows = self.registry.windows[max(0, done - 1) : upto]
        files = [str(path) for window in windows for path in window]
        return ["apply", *ALLOW, "--reason", "fault", *KEEP, *files]

    def prepare(self, kind: str) -> tuple[str, list[str], State]:
        """Bring the store to where a command has something to do.

        Return the command's name, its words, and the state that it leads to.
        """
        before = self.state()
        match kind:
            case "build":
                days = {day: self.at(WINDOWS * day, before) for day in (0, 1)}
                day = self.rng.choice([day for day, after in days.items() if after != before])
                return "build", self._build(day), days[day]
            case "apply":
                last = len(self.registry.windows)
                if self.at(last, before) == before:
                    before = self.finish(*self.prepare("build"))
                # At night nothing is ported: what is to be killed must have something to do.
                upto = next(
                    upto for upto in range(before.windows, last + 1)
                    if self.at(upto, before) != before
                )  # fmt: skip
                upto = min(last, upto + self.rng.randint(0, MORE_WINDOWS_MAX))
                return "apply", self._apply(before.windows, upto), self.at(upto, before)
            case "override":
                after = replace(before, overridden=not before.overridden)
                if before.overridden:
                    return "clear", ["override", "clear", *KEEP], after
                words = ["override", "apply", *KEEP, str(self.registry.overrides)]
                return "override", words, after
            case "rollback":
                after = self.known[self.store.previous_id()]
                return "rollback", ["rollback", "previous"], after
            case "prune":
                while len(self.store.ids()) < WORTH_PRUNING:
                    before = self.finish(*self.prepare("apply"))
                return "prune", ["prune", "--keep-last", "1"], before
            case _:
                pinned = self.store.previous_id() in self.store.pinned()
                name = "unpin" if pinned else "pin"
                return name, [name, "previous"], before

    def start(self, words: list[str], last_step: int = 0) -> int:
        """Start a command in a process of its own, which dies before its step of this number."""
        child = os.fork()
        if child:
            return child
        status = 70
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            log = os.open(self.folder / "log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            self._count_steps(last_step)
            sys.argv = ["numroute-load", *words, "--store", str(self.store.path)]
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

    def finish(self, name: str, words: list[str], after: State) -> State:
        """Run a command to its end; it works and leads where it must. Return the state."""
        begun = time.perf_counter()
        _, status = os.waitpid(self.start(words), 0)
        self.seconds[name] = time.perf_counter() - begun
        assert os.waitstatus_to_exitcode(status) == 0, (name, self.said())
        self.steps[name] = int((self.folder / "steps").read_text())
        assert self.state() == after, (name, self.state(), after)
        self.known[self.store.current_id()] = after
        return after

    def said(self) -> str:
        """Return what the last command printed."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def kill(self, name: str, words: list[str]) -> bool:
        """Start a command and kill it at a random moment; return whether it was still running."""
        if self.rng.random() < 0.5:
            step = self.rng.randint(1, self.steps[name])
            _, status = os.waitpid(self.start(words, step), 0)
            return os.WIFSIGNALED(status)
        # Publishing is the last part of each: it gets half of the points.
        share = self.rng.choice([self.rng.uniform(0, 1), self.rng.uniform(0.6, 1.0)])
        child = self.start(words)
        time.sleep(self.seconds[name] * share)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)

    def kill_and_check(self, kind: str) -> None:
        """Kill a command of this kind once, and check the store and everything in it."""
        name, words, after = self.prepare(kind)
        store, before = self.store, self.state()
        current, ids, told = store.current_id(), set(store.ids()), len(store.history())
        was_killed = self.kill(name, words)
        verify_snapshot(store.snapshot_path(store.current_id()))
        state = self.state()
        assert state in {before, after}, (name, before, after, state)
        events = store.history()[told:]
        pruned = {event["snapshot"] for event in events if event["event"] == "pruned"}
        lost = ids - set(store.ids()) - pruned
        assert not lost, (name, lost)
        assert store.current_at(datetime.now(UTC)) == store.current_id()
        for each in store.ids():
            with store.open(each) as snapshot:
                seen = self.registry.state_of(snapshot)
            if each in ids:
                assert self.known[each] == seen, (name, each)
            self.known[each] = seen
        if was_killed:
            self.killed[name] += 1
            self.left[kind][self._left(kind, current, ids, [e["event"] for e in events])] += 1
        self.recover()

    def _left(self, kind: str, current: str, ids: set[str], events: list[str]) -> str:
        """Return how far a killed command had come, by what it left."""
        store = self.store
        if kind in PUBLISHING:
            if store.current_id() != current:
                return "new snapshot current"
            if "published" in events:
                return "told, not current"
            if set(store.ids()) - ids:
                return "named, not told"
            unfinished = any(store.snapshots.glob("*.unfinished"))
            return "unfinished file" if unfinished else "nothing written"
        if kind == "rollback" and store.current_id() != current:
            return "rolled back"
        if kind == "prune" and set(store.ids()) != ids:
            return "some removed"
        return "told" if events else "nothing told"

    def recover(self) -> None:
        """Let one command run to its end: it works, and nothing of the crash is left."""
        self.finish(*self.prepare("apply"))
        store = self.store
        left = [path.name for path in store.path.rglob("*.unfinished")]
        assert not left, left
        assert store.read_history().moments()[-1].snapshot == store.current_id()
        assert not store.read_history().damaged

    def least_killed(self) -> str:
        """Return the kind of command whose turn is next."""
        count = {
            kind: sum(self.killed[name] for name in names) / WEIGHTS.get(kind, 1)
            for kind, names in KINDS.items()
        }
        least = min(count.values())
        return self.rng.choice([kind for kind in KINDS if count[kind] == least])

    def read_forever(self) -> int:
        """Start a process that looks up until SIGTERM; its exit status is 0 when all was right."""
        child = os.fork()
        if child:
            return child
        ended = []
        signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status, rounds = 1, 0
        try:
            while not ended:
                with self.store.open() as snapshot:
                    state = self.registry.state_of(snapshot)
                    for _ in range(BATCHES_OF_A_SNAPSHOT):
                        assert self.registry.state_of(snapshot) == state
                        rounds += 1
                time.sleep(PAUSE_SECONDS)
            status = 0
        except BaseException as fault:  # noqa: BLE001 - the parent is told of everything
            (self.folder / "reader").write_text(repr(fault))
        finally:
            if status == 0:
                (self.folder / "reader").write_text(str(rounds))
            os._exit(status)


def wait_for(path: Path) -> None:
    """Wait until another process has made a file."""
    until = time.monotonic() + START_SECONDS_MAX
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} did not come"
        time.sleep(0.05)


@contextlib.contextmanager
def service_under_witness(it: Torture, summary: dict[str, object]) -> Iterator[None]:
    """Run ``numroute serve`` on the store, and ask it all the time; note what was seen."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        target = f"127.0.0.1:{free.getsockname()[1]}"
    states, report = it.folder / "states.json", it.folder / "witness.json"
    it.registry.save(states)
    words = [BIN / "numroute", "serve", "--store", it.store.path, "--listen", target]
    program = Path(__file__).with_name("witness.py")
    with (it.folder / "service.log").open("w") as log:
        service = subprocess.Popen(
            [*words, "--workers", "2"], stdout=log, stderr=log, start_new_session=True
        )
        asking = subprocess.Popen(
            [sys.executable, program, target, states, it.store.path, report],
            start_new_session=True,
        )
        try:
            yield
            asking.terminate()
            status = asking.wait(60)
            seen = report.read_text() if report.exists() else "it gave no report"
            assert status == 0, f"the witness of the service: {seen}"
            summary["service"] = json.loads(seen)
            service.terminate()
            logged = (it.folder / "service.log").read_text()
            assert service.wait(60) == 0, logged
            assert '"level": "error"' not in logged, logged
        finally:
            for process in (asking, service):
                if process.poll() is None:
                    process.kill()
                process.wait()


@contextlib.contextmanager
def store_under_witness(it: Torture, summary: dict[str, object]) -> Iterator[None]:
    """Read the store in another process all the time; note how often."""
    reader = it.read_forever()
    try:
        yield
    finally:
        os.kill(reader, signal.SIGTERM)
        _, status = os.waitpid(reader, 0)
    told = (it.folder / "reader").read_text()
    assert os.waitstatus_to_exitcode(status) == 0, f"the reader met {told}"
    summary["batches_read_in_process"] = int(told)


def torture(folder: Path, points: int, seed: int) -> dict[str, object]:
    """Kill ``points`` times; return what was done. Raises AssertionError on the first fault."""
    begun = time.perf_counter()
    it = Torture(folder, seed)
    seen: dict[str, object] = {}
    ended: list[bool] = []
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: ended.append(True))
    with service_under_witness(it, seen):
        wait_for(folder / "witness.refused")
        it.finish("build", it._build(0), State(0, overridden=False))
        with store_under_witness(it, seen):
            for kind in ("apply", "override", "override", "rollback", "pin", "pin", "prune"):
                it.finish(*it.prepare(kind))
            while it.killed.total() < points and not ended:
                it.kill_and_check(it.least_killed())
                if it.killed.total() % PROGRESS_EVERY == 0:
                    print(f"killed {it.killed.total()} of {points}", file=sys.stderr)  # noqa: T201
    return {
        "seed": seed,
        "killed": it.killed.total(),
        "killed_in": dict(sorted(it.killed.items())),
        "killed_after_a_file_was_begun": sum(
            count
            for kind in PUBLISHING
            for left, count in it.left[kind].items()
            if left != "nothing written"
        ),
        "left_behind": {kind: dict(sorted(left.items())) for kind, left in it.left.items()},
        **seen,
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
