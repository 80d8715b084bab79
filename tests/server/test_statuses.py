"""The one table from errors to gRPC statuses."""

from __future__ import annotations

import inspect

import grpc
import pytest

from numroute import errors
from numroute.server.guard import status_of

FAULTS = {
    "NumrouteError",
    "_FileError",
    "StoreError",
    "WorkerError",
    "ServiceError",
    "FeedError",
    "HostKeyError",
    "LoginRefusedError",
}
"""Errors that no call is expected to raise."""

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.NumrouteError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind) -> None:
    """Each class of the tree has a status that is an error; only a fault of ours is INTERNAL."""
    status = status_of(kind.__new__(kind))
    assert status not in {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN}
    assert (status is grpc.StatusCode.INTERNAL) == (kind.__name__ in FAULTS)


def test_a_new_error_takes_the_status_of_its_ancestor() -> None:
    """An error of a class that is not in the table is mapped as its nearest ancestor."""

    class StoreOnFireError(errors.StoreAccessError):
        """A kind of error that the table does not know."""

    assert status_of(StoreOnFireError("/store", "smoke")) is grpc.StatusCode.UNAVAILABLE
