"""One service that most tests ask, and a way to run others."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from numroute.index import SnapshotStore
from support.oracle import Registry, make_registry, publish
from support.servers import Server, running


@pytest.fixture(scope="session")
def registry() -> Registry:
    """Return the registry that most tests ask."""
    return make_registry()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> SnapshotStore:
    """Return a store whose current snapshot is that of ``registry``; not to be changed."""
    store = SnapshotStore(tmp_path_factory.mktemp("service") / "store", create=True)
    publish(store, registry)
    return store


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, store: SnapshotStore) -> Iterator[Server]:
    """Return a running service over ``store``, shared by all tests; not to be stopped."""
    with running(tmp_path_factory.mktemp("log"), store.path) as running_server:
        yield running_server


@pytest.fixture
def run_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that runs a service of the test's own until the test ends."""
    with contextlib.ExitStack() as stack:

        def run(store: Path, **settings: object) -> Server:
            return stack.enter_context(running(tmp_path, store, **settings))

        yield run


class Gate:
    """Holds large batches in a service after they have taken their snapshot.

    Large: they are held in a thread, while the service goes on with everything else.
    """

    def __init__(self, folder: Path) -> None:
        """Talk to the service through files in a folder."""
        self._shut = folder / "shut"
        self._entered = folder / "entered"

    @property
    def code(self) -> str:
        """What the service's processes must run to have the gate."""
        return GATE.format(shut=str(self._shut), entered=str(self._entered))

    def shut(self) -> None:
        """Hold calls from now on."""
        self._shut.touch()

    def open(self) -> None:
        """Let calls pass."""
        self._shut.unlink()

    def wait_for_a_call(self) -> None:
        """Wait until a call is held."""
        while not self._entered.exists():
            time.sleep(0.01)


GATE = """
import time
from numroute.server.view import View

bulk_answer, shut, entered = View.bulk_answer, Path({shut!r}), Path({entered!r})

def held(*arguments, **options):
    while shut.exists():
        entered.touch()
        time.sleep(0.01)
    return bulk_answer(*arguments, **options)

View.bulk_answer = held
"""


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Return a gate for a service of the test's own."""
    return Gate(tmp_path)
