"""Ask a running service without a pause, and hold each answer against the ones that are right.

Run as a program: ``python tests/end_to_end/faults/witness.py TARGET STATES STORE REPORT``,
ended by SIGTERM.
It asks in rows and in columns, by two connections, without retries. Until a first answer has come
UNAVAILABLE is right; after that every error counts, and so does an answer that is of no state as a
whole, or of another state than the same snapshot's answer before. In the end the service must
answer from the snapshot that is current. The exit status is 0 when all was right.
"""

from __future__ import annotations

import itertools
import json
import signal
import sys
import time
from pathlib import Path

import grpc

from numroute.index import SnapshotStore
from numroute.v1 import number_routing_pb2 as pb2
from numroute.v1.number_routing_pb2_grpc import NumberRoutingStub

TIMEOUT_SECONDS = 60.0
FOLLOWS_WITHIN_SECONDS = 15.0
PAUSE_SECONDS = 0.02


class Witness:
    """What has been asked and answered so far."""

    def __init__(self, target: str, states: Path) -> None:
        """Open two connections: of several workers each may answer from its own snapshot."""
        told = json.loads(states.read_text())
        self._right = {tuple(answers): place for place, answers in enumerate(told["answers"])}
        self._columns = pb2.BulkLookupRequest(numbers=told["numbers"])
        self._rows = pb2.LookupRequest(numbers=[f"+{number}" for number in told["numbers"]])
        options = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
        channels = [grpc.insecure_channel(target, options=options) for _ in range(2)]
        for channel in channels:
            # A service that is not there yet is no fault of its answers.
            grpc.channel_ready_future(channel).result(TIMEOUT_SECONDS)
        self._stubs = [NumberRoutingStub(channel) for channel in channels]
        self._state_of: dict[str, int] = {}
        self.calls = {"columns": 0, "rows": 0}
        self.unavailable_before_the_first_snapshot = self.errors = self.wrong = 0
        self.example = ""

    def ask(self, stub: NumberRoutingStub, kind: str) -> str:
        """Ask once; return the id of the snapshot that answered."""
        if kind == "columns":
            answer = stub.BulkLookup(self._columns, timeout=TIMEOUT_SECONDS)
            code = [route.operator.code for route in answer.routes]
            said = tuple(code[place] for place in answer.route_indexes)
        else:
            answer = stub.Lookup(self._rows, timeout=TIMEOUT_SECONDS)
            said = tuple(each.route.operator.code for each in answer.answers)
        state = self._right.get(said)
        if state is None or self._state_of.setdefault(answer.snapshot.id, state) != state:
            self.wrong += 1
            self.example = self.example or f"snapshot {answer.snapshot.id} said {said}"
        self.calls[kind] += 1
        return str(answer.snapshot.id)

    def ask_until(self, ended: list[bool], refused: Path) -> None:
        """Ask by turns until told to stop; make a file when there was no answer yet."""
        turns = itertools.cycle(itertools.product(self._stubs, self.calls))
        while not ended:
            try:
                self.ask(*next(turns))
            except grpc.RpcError as error:
                if self._state_of or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self.errors += 1
                    self.example = self.example or repr(error)
                else:
                    self.unavailable_before_the_first_snapshot += 1
                    refused.touch()
            time.sleep(PAUSE_SECONDS)

    def follow(self, store: SnapshotStore) -> None:
        """Wait until every connection answers from the current snapshot."""
        until = time.monotonic() + FOLLOWS_WITHIN_SECONDS
        for stub in self._stubs:
            while self.ask(stub, "columns") != store.current_id():
                assert time.monotonic() < until, "the service stays with an old snapshot"
                time.sleep(0.05)

    def report(self) -> dict[str, object]:
        """Return counts of what was seen."""
        return {
            "answers": self.calls,
            "numbers_in_each_call": len(self._rows.numbers),
            "snapshots_seen": len(self._state_of),
            "unavailable_before_the_first_snapshot": self.unavailable_before_the_first_snapshot,
            "errors_after_the_first_answer": self.errors,
            "wrong_or_mixed_answers": self.wrong,
            **({"example": self.example} if self.example else {}),
        }


def main() -> int:
    """Ask until SIGTERM; return the exit status."""
    target, states, store, report = sys.argv[1:]
    ended: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    witness = Witness(target, Path(states))
    witness.ask_until(ended, Path(report).with_suffix(".refused"))
    witness.follow(SnapshotStore(store))
    Path(report).write_text(json.dumps(witness.report()))
    return 1 if witness.errors or witness.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
