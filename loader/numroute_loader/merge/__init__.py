"""From the files that were read to the content of a snapshot. It knows no country."""

from numroute_loader.merge.merging import (
    MergeReport,
    MergeResult,
    OutsidePlan,
    UnknownOperator,
    merge,
)

__all__ = ["MergeReport", "MergeResult", "OutsidePlan", "UnknownOperator", "merge"]
