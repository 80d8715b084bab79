"""Starting the service, and calls one by one: raw messages and the product's client."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.processes import drop_from_page_cache, run
from benchmarks.report import Side, beside, rounds, take_turns
from benchmarks.service.asking import contest, empty_service, make_questions
from numroute import Client
from numroute.plan.load import serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.material import Material
    from benchmarks.report import Figure

BATCHES = (1, 1_000, 65_536, 500_000)
IN_FLIGHT = (1, 4)
CLIENT_BATCH = 65_536
TEXTS = 1_000


def start(material: Material, seconds: float) -> Sequence[Figure]:
    """Time from the start of ``numroute serve`` to its first right answer."""
    imports = "Python imports grpc, numpy and lmdb"
    times: dict[str, list[float]] = {
        imports: [],
        "`numroute serve`, snapshot in the page cache": [],
        "`numroute serve`, snapshot not in the page cache": [],
    }
    for _ in rounds(seconds):
        for name, values in times.items():
            if name == imports:
                values.append(run(sys.executable, "-c", "import grpc, numpy, lmdb").seconds)
                continue
            if "not in" in name:
                drop_from_page_cache(material.snapshot)
            else:
                material.snapshot.read_bytes()
            questions = make_questions(material, 1, count=1)
            begin = time.perf_counter()
            with serving(material.store) as service, service.bulk_lookup() as call:
                questions.learn(call, material.truth)
                values.append(time.perf_counter() - begin)
    return beside("From the start to the first answer", times, unit="s")


def calls(material: Material, seconds: float) -> Sequence[Figure]:
    """Compare ``BulkLookup`` with an empty handler that reads and sends the same bytes."""
    figures: list[Figure] = []
    questions = {batch: make_questions(material, batch) for batch in BATCHES}
    with serving(material.store) as service, service.bulk_lookup() as call:
        for each in questions.values():
            each.learn(call, material.truth)
        with empty_service(*questions.values()) as (empty, empty_call):
            for in_flight in IN_FLIGHT:
                for batch, each in questions.items():
                    answer = next(iter(each.answers[0]))
                    stored = make_questions(material, batch, count=1)
                    stored.answers[0][answer] = ""
                    name = f"{batch:,} a batch: "
                    figures += contest(
                        f"`BulkLookup`, {in_flight} under way",
                        {
                            f"{name}empty handler, {in_flight} under way": (
                                empty,
                                stored.send(empty_call),
                            ),
                            f"{name}`BulkLookup`, {in_flight} under way": (
                                service,
                                each.send(call),
                            ),
                        },
                        in_flight=in_flight,
                        numbers=batch,
                        seconds=seconds / len(BATCHES) / len(IN_FLIGHT),
                    )
    return figures


def client(material: Material, seconds: float) -> Sequence[Figure]:
    """Ask with the product's client: a large batch, the same over a stream, and texts."""
    count = 8 * CLIENT_BATCH
    numbers = material.draw(count)
    batches = np.split(numbers, count // CLIENT_BATCH)
    texts = [f"+{number}" for number in numbers[:TEXTS].tolist()]

    def right(found: Any) -> None:  # noqa: ANN401 - answers of one call or of several
        for asked, answer in zip(batches if len(found) > 1 else [numbers], found, strict=True):
            material.truth.check(asked, answer.route_index, answer.routes)

    def right_texts(found: Any) -> None:  # noqa: ANN401 - one answer per text
        material.truth.check(
            numbers[:TEXTS], np.arange(TEXTS), [each.route or each for each in found]
        )

    with contextlib.ExitStack() as stack:
        service = stack.enter_context(serving(material.store))
        asking = stack.enter_context(Client(service.address, timeout=60))
        return take_turns(
            "The product's client",
            {
                f"`Client.lookup` of {count:,} numbers": Side(
                    run=lambda: [asking.lookup(numbers)], check=right, count=count
                ),
                f"`Client.stream`, batches of {CLIENT_BATCH:,}": Side(
                    run=lambda: list(asking.stream(batches)), check=right, count=count
                ),
                f"`Client.lookup_text` of {TEXTS:,} texts": Side(
                    run=lambda: asking.lookup_text(texts), check=right_texts, count=TEXTS
                ),
            },
            unit="ns/number",
            scale=1e9,
            seconds=seconds,
        )
