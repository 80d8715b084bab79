"""A window of changes to a snapshot, as registry files, and what each number must be afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.index import SnapshotStore, kernel
from numroute_loader.increments.windows import position_of
from numroute_loader.registries import CHAINS, KINDS, ru_bdpn

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SEED = 7
PORT = (
    "NPId,Number,RecipientId,DonorId,RangeHolderId,OldRoute,NewRoute,OldMNC,NewMNC,RegionCode,"
    "PortDate,RowCount"
)
RETURN = (
    "NPId,Number,OwnerId,RangeHolderId,RangeHolderMNC,OldRoute,NewRoute,RegionCode,"
    "PortDate,RowCount"
)
RECIPIENT, MNC, REGION = "mMTS", "01", "77"
ROUTE_TO = f"D{REGION}{MNC}"
COUNTRY = 70_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The two files of a window, and its numbers: uint64 arrays of whole numbers.

    ``ported`` have a record of ``RECIPIENT`` afterwards, ``returned`` none.
    """

    files: tuple[Path, Path]
    ported: NDArray[np.uint64]
    returned: NDArray[np.uint64]


def make_window(store: Path, folder: Path, changes: int) -> Window:
    """Write the window that comes next after the store's current snapshot.

    Six of ten changes are new ports, two are onward ports and two are returns, spread evenly over
    all numbers.
    """
    rng = np.random.default_rng(SEED)
    with SnapshotStore(store).open() as snapshot:
        position = position_of(snapshot.metadata, CHAINS, KINDS)
        some = np.concatenate([rng.choice(part, 128) for part in snapshot.ported_numbers()])
        recorded = rng.permutation(np.unique(some))[: changes * 4 // 10]
        near = np.unique(rng.permutation(some)[: 2 * changes] + np.uint64(1))
        free = near[~kernel.locate(snapshot.tables, near)[0]]
        new = rng.permutation(free)[: changes - len(recorded)]
    onward, returned = np.split(recorded, [len(recorded) // 2])
    ported = np.concatenate([new, onward])
    assert len(ported) + len(returned) == changes
    time = position.chain.window_time(position.following)
    stamp = f"{time + ru_bdpn.MOSCOW:%Y%m%d%H%M}_{position.following}"
    date = f"{time:%Y-%m-%dT%H:%M:%S}+00:00"
    ports = [
        f"1,{number - COUNTRY},{RECIPIENT},mTELE2,mTELE2,D7720,{ROUTE_TO},20,{MNC},{REGION},{date},"
        for number in ported.tolist()
    ]
    returns = [
        f"2,{number - COUNTRY},{RECIPIENT},mTELE2,20,D7701,D7720,77,{date},"
        for number in returned.tolist()
    ]
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    files = (
        _put(folder / f"Port_Increment_{stamp}.csv", PORT, ports),
        _put(folder / f"Return_Increment_{stamp}.csv", RETURN, returns),
    )
    return Window(files=files, ported=ported, returned=returned)


def _put(path: Path, header: str, rows: list[str]) -> Path:
    lines = [header, f"{rows[0]}{len(rows)}", *rows[1:]]
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return path
