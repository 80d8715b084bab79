"""What happens without a policy file: an output route per operator that serves the number now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.model import Status
from numroute_campaign.decisions import Decision
from numroute_campaign.rejects import Reject

if TYPE_CHECKING:
    from numroute.model import Route


class ByOperator:
    """A route per brand, or operator where it has none; what nobody holds does not leave."""

    def decide(self, route: Route, *, foreign: bool) -> Decision:
        """Say what becomes of numbers of this route."""
        if foreign:
            return Decision(reject=Reject.FOREIGN)
        if route.status not in {Status.PORTED, Status.NOT_PORTED}:
            return Decision(reject=Reject.UNALLOCATED)
        operator = route.operator
        return Decision(
            destination=operator.brand or operator.name or operator.code or "unknown-operator"
        )
