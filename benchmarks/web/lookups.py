"""Lookups over HTTP, beside a handler of the same framework that returns a constant."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.material import Material
from benchmarks.processes import module_server
from benchmarks.report import Figure
from benchmarks.service.asking import contest
from benchmarks.web.serving import connected, post, sender, web_service
from benchmarks.yardsticks import constant_handler
from numroute.plan.load import Service

BATCHES = (1, 100, 1_000)
QUESTIONS = 4


def lookups(material: Material, seconds: float) -> Sequence[Figure]:
    """Compare ``POST /v1/lookup`` with a handler that answers the same request by a constant."""
    figures: list[Figure] = []
    with (
        tempfile.TemporaryDirectory(dir=material.work) as folder,
        web_service(material, Path(folder) / "jobs") as service,
    ):
        for batch in BATCHES:
            figures += _batch(material, service, batch, Path(folder), seconds / len(BATCHES))
    return figures


def _batch(
    material: Material, service: Service, batch: int, folder: Path, seconds: float
) -> list[Figure]:
    asked = [material.draw(batch, seed=seed) for seed in range(QUESTIONS)]
    bodies = [json.dumps({"numbers": [f"+{each}" for each in row]}).encode() for row in asked]
    with connected(service) as connection:
        answers = []
        for numbers, body in zip(asked, bodies, strict=True):
            status, answer = post(connection, body)
            assert status == 200, answer
            routes = [_route(each) for each in json.loads(answer)["answers"]]
            material.truth.check(numbers, np.arange(batch), routes)
            answers.append(answer)
        constant = folder / "constant"
        constant.write_bytes(answers[0])
        with module_server(constant_handler.__name__, constant) as (address, pid):
            yardstick = Service(address=address, pid=pid)
            with connected(yardstick) as empty:
                return contest(
                    f"`POST /v1/lookup` with {batch:,} numbers, {len(answers[0]):,} bytes back",
                    {
                        f"{batch:,}: a constant of as many bytes": (
                            yardstick,
                            sender(empty, bodies[:1], lambda _, answer: answer == answers[0]),
                        ),
                        f"{batch:,}: `numroute web`": (
                            service,
                            sender(connection, bodies, lambda at, answer: answer == answers[at]),
                        ),
                    },
                    in_flight=1,
                    numbers=batch,
                    seconds=seconds,
                )


def _route(answer: dict[str, Any]) -> Any:  # noqa: ANN401 - a route as the oracle reads it
    """Return an answer's route with the attributes of the index's."""
    route = answer["route"] or {"operator": None, "region": {}}
    values = {
        name: SimpleNamespace(**each) if isinstance(each, dict) else each
        for name, each in route.items()
    }
    return SimpleNamespace(**values | {"status": SimpleNamespace(name=answer["status"])})
