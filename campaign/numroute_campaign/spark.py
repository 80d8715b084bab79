r"""Campaign lists on Apache Spark, through the same lookup kernel.

As a job::

    spark-submit "$(python -c 'import numroute_campaign.spark as job; print(job.__file__)')" \
        --store /var/lib/numroute --region RU --column phone hdfs:///lists/spring hdfs:///routed

In a program: ``route_dataframe``. Each executor process opens the snapshot once, from the path
``store``, which must be there on every node: a local copy or a shared mount.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numroute.errors import NumrouteError, SettingError
from numroute.index import SnapshotStore
from numroute_campaign.frames import ANSWER_COLUMNS, refuse_clash, route_batches
from numroute_campaign.policy import Policy, read_policy

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FORMATS: Final[dict[str, dict[str, bool]]] = {"parquet": {}, "csv": {"header": True}}
"""Formats that are read and written, with Spark's options."""

LEAVING: Final = ("number", "route", "reject", "rule", "invalid_reason")
"""The columns of the answers that the job writes; ``--keep`` adds columns of the list."""


def route_dataframe(
    frame: DataFrame,
    *,
    store: Path | str,
    column: str,
    region: str | None = None,
    policy: Policy | None = None,
    prefix: str = "",
) -> DataFrame:
    """Return a Spark frame with the columns of ``route_batches`` added.

    All executors answer from the snapshot that is current when this is called, also when another
    one is published while the job runs.

    The arguments and errors are those of ``route_batches``. The phone ``column`` must be named:
    partitions cannot agree on one that each would find for itself.
    """
    from pyspark.sql.types import LongType, StringType, StructType  # noqa: PLC0415 - extra `spark`

    if column not in frame.columns:
        raise SettingError(
            f"the frame has no column {column!r}",
            hint=f"Its columns are {', '.join(frame.columns)}",
        )
    refuse_clash(frame.columns, prefix)
    schema = StructType(list(frame.schema.fields))
    for name, kind in ANSWER_COLUMNS:
        schema.add(prefix + name, LongType() if str(kind) == "int64" else StringType())
    work = partial(
        route_batches,
        store=str(store),
        snapshot=SnapshotStore(store).current_id(),
        column=column,
        region=region,
        policy=policy,
        prefix=prefix,
    )
    return frame.mapInArrow(work, schema)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; return the exit status."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - needs the extra `spark`

    parser = argparse.ArgumentParser(
        prog="numroute_campaign.spark",
        description="Route a list of phone numbers on Apache Spark. Only the number, its route and "
        "why a row has none leave; --keep adds columns of the list.",
    )
    parser.add_argument("list", help="what to read: a path or URL that Spark can read")
    parser.add_argument("out", help="folder to write, one subfolder per route; must not exist")
    parser.add_argument("--store", required=True, help="snapshot store, a path on every node")
    parser.add_argument("--column", required=True, help="the phone column")
    parser.add_argument("--region", help="country of national formats, e.g. RU")
    parser.add_argument("--policy", help="policy file (TOML), a path on the driver")
    parser.add_argument("--format", choices=FORMATS, default="parquet", help="of list and output")
    parser.add_argument("--keep", action="append", default=[], metavar="COLUMN")
    parser.add_argument(
        "--deduplicate", action="store_true", help="keep one row of each number, any of them"
    )
    given = parser.parse_args(arguments)
    options = FORMATS[given.format]
    session = SparkSession.builder.appName("numroute campaign").getOrCreate()
    try:
        routed = route_dataframe(
            session.read.format(given.format).options(**options).load(given.list),
            store=given.store,
            column=given.column,
            region=given.region,
            policy=read_policy(Path(given.policy)) if given.policy else None,
        )
        if given.deduplicate:
            # Rows without a number stay, each with its own reason.
            valid = routed.where(routed["number"].isNotNull()).dropDuplicates(["number"])
            routed = valid.unionByName(routed.where(routed["number"].isNull()))
        writer = routed.select(*LEAVING, *given.keep).write.mode("error").format(given.format)
        writer.options(**options).partitionBy("route").save(given.out)
    except NumrouteError as error:
        sys.stderr.write(f"numroute: {error}\n")
        return 1
    finally:
        session.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
