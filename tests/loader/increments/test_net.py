"""What windows change together is what a plain dict holds after all rows, one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from numroute_loader.increments import net_changes
from numroute_loader.reading.description import IncrementRows, RouteKey

NUMBERS = st.integers(79_000_000_001, 79_000_000_006)
KEYS = [RouteKey(operator_code=code) for code in ("mA", "mB", "mC")]


@dataclass(frozen=True)
class Row:
    """A row of either file; ``key`` is None for a return."""

    number: int
    key: RouteKey | None
    time: int
    order: int


PORTS = st.builds(
    Row,
    number=NUMBERS,
    # A port to the range holder stands in the same file and is a return.
    key=st.sampled_from([*KEYS, None]),
    time=st.integers(0, 4),
    order=st.integers(1, 3),
)
RETURNS = st.builds(
    Row, number=NUMBERS, key=st.none(), time=st.integers(0, 4), order=st.integers(1, 3)
)
WINDOWS = st.lists(
    st.tuples(st.lists(PORTS, max_size=8), st.lists(RETURNS, max_size=6)), max_size=4
)


def rows_of(rows: list[Row]) -> IncrementRows:
    """Return rows as a reader returns them."""
    keys = list(dict.fromkeys(row.key for row in rows if row.key is not None))
    return IncrementRows(
        numbers=np.array([row.number for row in rows], np.uint64),
        returns=np.array([row.key is None for row in rows], np.bool_),
        route=np.array([keys.index(row.key) if row.key else 0 for row in rows], np.uint32),
        keys=keys,
        changed_at=np.array([row.time for row in rows], np.uint32),
        order_id=np.array([row.order for row in rows], np.uint64),
        donor=np.zeros(len(rows), np.uint32),
        donor_codes=("",),
    )


@settings(max_examples=400)
@given(windows=WINDOWS)
def test_the_last_word_on_each_number(windows: list[tuple[list[Row], list[Row]]]) -> None:
    """Within a window by time, then by order id, whichever file it is in; later windows win."""
    state: dict[int, tuple[RouteKey | None, int, int]] = {}
    for at, window in enumerate(windows):
        told = [(row, 2 * at + file) for file, rows in enumerate(window) for row in rows]
        for row, file in sorted(told, key=lambda each: (each[0].time, each[0].order)):
            state[row.number] = (row.key, row.time, file)
    net, file_of = net_changes([[rows_of(ports), rows_of(returns)] for ports, returns in windows])
    assert net.numbers.tolist() == sorted(state)
    found = (
        {
            number: (None if returned else net.keys[route], time, file)
            for number, returned, route, time, file in zip(
                net.numbers.tolist(),
                net.returns.tolist(),
                net.route.tolist(),
                net.changed_at.tolist(),
                file_of.tolist(),
                strict=True,
            )
        }
        if state
        else {}
    )
    assert found == state


def test_donors_of_several_files() -> None:
    """Each file has its own table of donors; the indexes point into one for all."""
    one, other = (
        IncrementRows(
            numbers=np.array([number], np.uint64),
            returns=np.zeros(1, np.bool_),
            route=np.zeros(1, np.uint32),
            keys=KEYS[:1],
            changed_at=np.ones(1, np.uint32),
            order_id=np.ones(1, np.uint64),
            donor=np.zeros(1, np.uint32),
            donor_codes=(code,),
        )
        for number, code in ((5, "mX"), (4, "mY"))
    )
    net, _ = net_changes([[one], [other]])
    assert [net.donor_codes[at] for at in net.donor.tolist()] == ["mY", "mX"]
