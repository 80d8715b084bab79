"""Routing of a data frame's column: one function for Polars, one for pandas.

Both return the frame with the columns of ``route_batches`` added, row by row in its order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from numroute_campaign.batches import answer_fields, route_batches

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import polars as pl

    from numroute_campaign.decisions import Rules


def route_polars(
    frame: pl.DataFrame,
    *,
    store: Path | str,
    snapshot: str | None = None,
    column: str | None = None,
    region: str | None = None,
    policy: Rules | None = None,
    prefix: str = "",
) -> pl.DataFrame:
    """Return a Polars frame with the answers; the arguments and errors are ``route_batches``'s.

    Raises:
        ModuleNotFoundError: Polars is not installed.
    """
    import polars as pl  # noqa: PLC0415 - only for those who have it

    routed = _routed(
        frame.to_arrow(),
        store=store,
        snapshot=snapshot,
        column=column,
        region=region,
        policy=policy,
        prefix=prefix,
    )
    names = [field.name for field in answer_fields(prefix)]
    return frame.hstack(pl.DataFrame(routed.select(names)))


def route_pandas(
    frame: pd.DataFrame,
    *,
    store: Path | str,
    snapshot: str | None = None,
    column: str | None = None,
    region: str | None = None,
    policy: Rules | None = None,
    prefix: str = "",
) -> pd.DataFrame:
    """Return a pandas frame with the answers and its own index; see ``route_polars``.

    The numbers are of pandas' ``Int64``, which knows missing values.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    import pandas as pd  # noqa: PLC0415 - only for those who have it

    routed = _routed(
        pa.Table.from_pandas(frame, preserve_index=False),
        store=store,
        snapshot=snapshot,
        column=column,
        region=region,
        policy=policy,
        prefix=prefix,
    )
    names = [field.name for field in answer_fields(prefix)]
    answers = routed.select(names).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return pd.concat([frame, answers.set_axis(frame.index, axis=0)], axis=1)


def _routed(
    table: pa.Table,
    *,
    store: Path | str,
    snapshot: str | None,
    column: str | None,
    region: str | None,
    policy: Rules | None,
    prefix: str,
) -> pa.Table:
    # Several chunks would be several first batches to tell the column by.
    batches = table.combine_chunks().to_batches() or [
        pa.RecordBatch.from_pylist([], schema=table.schema)
    ]
    return pa.Table.from_batches(
        route_batches(
            batches,
            store=store,
            snapshot=snapshot,
            column=column,
            region=region,
            policy=policy,
            prefix=prefix,
        )
    )
