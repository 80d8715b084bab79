"""Which rule decides about which row, for the first rows of a list; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numroute.model import Status, mask_number
from numroute_campaign.decisions import ByOperator, Decisions, Reject, ported_since
from numroute_campaign.lists.files import find_files
from numroute_campaign.lists.opening import OpenList, check_pseudonymous
from numroute_campaign.number_set import NumberSet
from numroute_campaign.policy import rules_that_never_match
from numroute_campaign.preparing import DefaultCountry, prepare
from numroute_campaign.sorting import Sorter
from numroute_campaign.suppression import check_suppress, read_suppressed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.model import Route
    from numroute_campaign.preparing import Prepared
    from numroute_campaign.routers import Router
    from numroute_campaign.run import Campaign

SAMPLE_ROWS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """What would become of one row. ``number`` is masked; empty where the row holds none.

    Attributes:
        rule: The rule that decided, or the fallback; empty where no policy was asked.
        destination: The output route; empty where the row would not leave.
        reason: Why it would not leave.
    """

    row_id: int
    number: str
    status: str
    operator: str
    region: str
    rule: str
    destination: str
    reason: str
    send_from: str
    send_until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The first rows of a list, and warnings about the policy."""

    phone_column: str
    phone_column_why: str
    rows: tuple[SampleRow, ...]
    warnings: tuple[str, ...]


def dry_run(campaign: Campaign, router: Router, rows: int = SAMPLE_ROWS) -> Sample:
    """Say what would become of the first rows of the first file.

    Raises:
        InputError: The list cannot be read.
        SettingError: The settings contradict each other.
        ServiceError: The service did not answer.
    """
    policy = campaign.policy
    country = DefaultCountry(campaign.reading.region)
    check_suppress(campaign.suppress)
    opened = OpenList(find_files(campaign.lists)[0], campaign.reading)
    if campaign.hand_over is not None:
        check_pseudonymous([opened])
    rules = policy or ByOperator()
    decisions, since = Decisions(router.routes, rules), ported_since(rules)
    suppressed = (
        read_suppressed(
            campaign.suppress,
            campaign.suppress_reading,
            None,
            is_lenient=campaign.suppress_lenient,
        )
        if campaign.suppress
        else None
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
        phone_column=opened.found.shown_phone,
        phone_column_why=opened.found.why,
        rows=tuple(found[:rows]),
        warnings=(
            *(f"{opened.file.name}: {warning}" for warning in opened.found.warnings),
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
    """Return the block's rows; Python per row, which a sample's few thousand may take."""
    _, staying = sorter.sort(prepared)
    reasons = dict(zip(staying.row_id.tolist(), staying.reason.tolist(), strict=True))
    found = {row_id: _invalid(row_id, Reject(reason)) for row_id, reason in reasons.items()}
    for record, number, code in zip(
        prepared.record.tolist(), prepared.numbers.tolist(), prepared.code.tolist(), strict=True
    ):
        row_id = record + first_id
        reason = Reject(reasons.get(row_id, 0))
        decision = decisions.decided[code]
        found[row_id] = SampleRow(
            row_id=row_id,
            number=mask_number(number),
            status=routes[code // 2].status.name,
            operator=routes[code // 2].operator.brand or routes[code // 2].operator.name,
            region=routes[code // 2].region.name or routes[code // 2].region.code,
            rule="" if reason is not Reject.NONE else decision.rule,
            destination="" if reason is not Reject.NONE else decision.destination,
            reason=(reason or decision.reject).name if reason or decision.reject else "",
            send_from=decision.send_from,
            send_until=decision.send_until,
        )
    return [found[row_id] for row_id in sorted(found)]


def _invalid(row_id: int, reason: Reject) -> SampleRow:
    return SampleRow(
        row_id=row_id,
        number="",
        status=Status.INVALID.name,
        operator="",
        region="",
        rule="",
        destination="",
        reason=reason.name,
        send_from="",
        send_until="",
    )
