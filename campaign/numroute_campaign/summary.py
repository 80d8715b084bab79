"""What a campaign run did, as one value: the table, ``summary.json`` and reports are made of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSummary:
    """How one file of the list was read. ``first_row_id`` counts from 1 over all files."""

    name: str
    form: str
    encoding: str
    delimiter: str
    has_header: bool
    phone_column: str
    rows: int
    first_row_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectSummary:
    """Rows that did not leave for one reason; ``rule`` is the policy's rule, where one decided."""

    reason: str
    meaning: str
    rule: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSummary:
    """One output route. ``files`` are names within the output folder."""

    name: str
    numbers: int
    files: tuple[str, ...]
    cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSummary:
    """What left to one operator.

    ``price`` (of a segment) and ``cost`` are decimal texts; empty where no price is known,
    ``price`` also where several apply.
    """

    code: str
    name: str
    brand: str
    numbers: int
    ported: int
    parts: int
    price: str
    cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSummary:
    """What left to one region."""

    code: str
    name: str
    numbers: int
    ported: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSummary:
    """How many numbers a rule of the policy decided about."""

    name: str
    line: int
    numbers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSummary:
    """Costs from the price list; amounts are decimal texts in ``currency``.

    Attributes:
        total: Of all numbers that left and have a price.
        unpriced_numbers: Numbers that left and have none: they are not in ``total``.
        unpriced_operators: Whose they are.
        saved_duplicates: What the dropped duplicates would have cost.
        by_prefix: What ``total``'s numbers would have cost, each at its range holder's price.
        saved_by_prefix: ``by_prefix`` less ``total``.
    """

    currency: str
    total: str
    unpriced_numbers: int
    unpriced_operators: tuple[str, ...]
    saved_duplicates: str
    by_prefix: str
    saved_by_prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Rows through the steps: ``rows`` is the sum of all others but ``valid`` and ``unique``.

    Attributes:
        rows: Read.
        rejected: No number, or a damaged row.
        valid: ``rows`` less ``rejected``.
        duplicates: The number stood in an earlier row.
        unique: ``valid`` less ``duplicates``.
        suppressed: On the do-not-send list.
        refused: By the policy: excluded, unallocated, foreign and so on.
        routed: Written to the output routes.
    """

    rows: int
    rejected: int
    valid: int
    duplicates: int
    unique: int
    suppressed: int
    refused: int
    routed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did. The same list, options and snapshot give the same summary.

    Attributes:
        snapshots: Ids of the snapshots that answered; one, unless a service changed to a new one.
        ported: How many routed numbers are not served by their range holder's prefix.
        misrouted_by_prefix: Routed numbers whose range holder is another operator than the one
            that serves them.
        kept_columns: What leaves beside number, route and row id.
        dropped_columns: What stayed.
        warnings: What the reader of the report must know.
    """

    files: tuple[FileSummary, ...]
    snapshots: tuple[str, ...]
    region: str
    policy: str
    pseudonymized: bool
    steps: Steps
    rejects: tuple[RejectSummary, ...]
    rejects_files: tuple[str, ...]
    routes: tuple[RouteSummary, ...]
    operators: tuple[OperatorSummary, ...]
    regions: tuple[RegionSummary, ...]
    rules: tuple[RuleSummary, ...]
    ported: int
    misrouted_by_prefix: int
    cost: CostSummary | None
    kept_columns: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    warnings: tuple[str, ...]
