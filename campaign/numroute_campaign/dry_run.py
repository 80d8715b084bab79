"""A dry run: which rule decides each of the first rows of a list; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numroute.model import Status, mask_number
from numroute_campaign.lists.files import find_files
from numroute_campaign.lists.opening import OpenList, check_pseudonymous
from numroute_campaign.number_set import NumberSet
from numroute_campaign.policy import ByOperator, rules_that_never_match
from numroute_campaign.preparing import DefaultCountry, prepare
from numroute_campaign.sorting import Decisions, Sorter, ported_since
from numroute_campaign.suppression import check_suppress, read_suppressed
from numroute_campaign.vocabulary import Phrase, Reject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.model import Route
    from numroute_campaign.preparing import Prepared
    from numroute_campaign.routers import Router
    from numroute_campaign.run import Campaign

SAMPLE_ROWS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """How one row would be routed.

    Attributes:
        number: Masked; empty if the row has none.
        rule: The rule or the fallback that decided; empty if no policy did.
        destination: The output route; empty if the row would be rejected.
        reason: Why it would be rejected.
    """

    row_id: int
    status: str
    reason: str
    number: str = ""
    operator: str = ""
    region: str = ""
    rule: str = ""
    destination: str = ""
    send_from: str = ""
    send_until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The first rows of a list, and warnings about the policy."""

    phone_column: str
    phone_column_why: str
    rows: tuple[SampleRow, ...]
    warnings: tuple[str, ...]


def dry_run(campaign: Campaign, router: Router, rows: int = SAMPLE_ROWS) -> Sample:
    """Return how the first rows of the first file would be routed; errors as ``run_campaign``."""
    policy = campaign.policy
    country = DefaultCountry(campaign.reading.region)
    check_suppress(campaign.suppress)
    opened = OpenList(find_files(campaign.lists)[0], campaign.reading)
    if campaign.hand_over is not None:
        check_pseudonymous([opened])
    rules = policy or ByOperator()
    decisions, since = Decisions(router.routes, rules), ported_since(rules)
    suppressed = read_suppressed(
        campaign.suppress, campaign.suppress_reading, is_lenient=campaign.suppress_lenient
    )
    found: list[SampleRow] = []
    try:
        sorter = Sorter(decisions, NumberSet(), suppressed)
        for task in opened.tasks():
            prepared = prepare(task(), router, country, campaign.several, since)
            first_id = sorter.counts.rows + 1
            found += _rows(sorter, prepared, first_id, decisions, router.routes)
            if len(found) >= rows:
                break
    finally:
        opened.close()
    return Sample(
        phone_column=opened.summary().phone_column,
        phone_column_why=opened.why,
        rows=tuple(found[:rows]),
        warnings=(
            *(Phrase("{}: {}", opened.file.name, warning) for warning in opened.warnings),
            *(
                ()
                if policy is None
                else rules_that_never_match(policy, router.routes if router.is_complete else None)
            ),
        ),
    )


def _rows(
    sorter: Sorter,
    prepared: Prepared,
    first_id: int,
    decisions: Decisions,
    routes: Sequence[Route],
) -> list[SampleRow]:
    """Return the block's rows, one by one in Python: a sample has a few thousand at most."""
    _, staying = sorter.sort(prepared)
    reasons = {
        row_id: Reject(reason)
        for row_id, reason in zip(staying.row_id.tolist(), staying.reason.tolist(), strict=True)
    }
    rows = {
        row_id: SampleRow(row_id=row_id, status=Status.INVALID.name, reason=reason.name)
        for row_id, reason in reasons.items()
    }
    for record, number, code in zip(
        prepared.record.tolist(), prepared.numbers.tolist(), prepared.code.tolist(), strict=True
    ):
        row_id = record + first_id
        reason, decision = reasons.get(row_id, Reject.NONE), decisions.decided[code]
        route, is_decided = routes[code // 2], reason is Reject.NONE
        rejected = reason or decision.reject
        rows[row_id] = SampleRow(
            row_id=row_id,
            number=mask_number(number),
            status=route.status.name,
            operator=route.operator.brand or route.operator.name,
            region=route.region.name or route.region.code,
            rule=decision.rule if is_decided else "",
            destination=decision.destination if is_decided else "",
            reason=rejected.name if rejected else "",
            send_from=decision.send_from,
            send_until=decision.send_until,
        )
    return [rows[row_id] for row_id in sorted(rows)]
