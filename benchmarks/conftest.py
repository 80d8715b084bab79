"""What all benchmarks share, and the import path of the steps that run in processes of their own.

Those find this package as ``python -m`` does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.plans import ROOT
from benchmarks.small import Small, make_small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numroute.index import Snapshot

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Return a small registry with its oracle and its store; not to be changed."""
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def snapshot(small: Small) -> Iterator[Snapshot]:
    """Return the small registry's snapshot, opened."""
    with small.store.open() as opened:
        yield opened
