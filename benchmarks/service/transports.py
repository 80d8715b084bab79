"""What carrying a large batch costs: gRPC and Arrow Flight with nothing behind them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import flight

from benchmarks.material import Material
from benchmarks.processes import module_server
from benchmarks.report import Figure, Side, take_turns
from benchmarks.service.asking import empty_service, make_questions
from benchmarks.yardsticks import empty_flight
from numroute.plan.load import CALL_SECONDS_MAX, serving
from numroute.v1 import number_routing_pb2 as pb

BATCH = 262_144


def transports(material: Material, seconds: float) -> Sequence[Figure]:
    """Exchange the same columns over gRPC and Arrow Flight, one call after another."""
    questions = make_questions(material, BATCH, count=1)
    (request,), (numbers,) = questions.requests, questions.numbers
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(serving(material.store))
        questions.learn(stack.enter_context(service.bulk_lookup()), material.truth)
        answer = next(iter(questions.answers[0]))
        indexes = np.asarray(pb.BulkLookupResponse.FromString(answer).route_indexes, np.uint32)
        _, call = stack.enter_context(empty_service(questions))
        exchange = stack.enter_context(_exchange(answer))

        def right(found: Any) -> None:  # noqa: ANN401 - bytes or a batch
            if isinstance(found, bytes):
                assert found == answer
            else:
                assert np.array_equal(found.column(0).to_numpy(), indexes)

        return take_turns(
            f"Carrying {BATCH:,} numbers and their answers",
            {
                "gRPC, empty handler": Side(
                    run=lambda: call(request, timeout=CALL_SECONDS_MAX), check=right, count=BATCH
                ),
                "Arrow Flight, empty exchange": Side(
                    run=lambda: exchange(numbers), check=right, count=BATCH
                ),
            },
            unit="ns/number",
            scale=1e9,
            seconds=seconds,
        )


@contextlib.contextmanager
def _exchange(answer: bytes) -> Iterator[Callable[[Any], Any]]:
    schema = pa.schema([("numbers", pa.uint64())])
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = Path(folder) / "answer"
        path.write_bytes(answer)
        address, _ = stack.enter_context(module_server(empty_flight.__name__, path))
        client = stack.enter_context(flight.connect(f"grpc://{address}"))
        writer, reader = client.do_exchange(flight.FlightDescriptor.for_path("numbers"))
        writer.begin(schema)

        def exchange(numbers: Any) -> Any:  # noqa: ANN401 - arrays and batches
            writer.write_batch(pa.record_batch([pa.array(numbers)], schema=schema))
            return reader.read_chunk().data

        try:
            yield exchange
        finally:
            writer.done_writing()
            writer.close()
