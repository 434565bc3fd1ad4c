"""Budget of requests and their cost; nothing is sent that goes beyond it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from vl_explorer.search.engine import SearchError


class Budget:
    """Counts requests and their cost, and refuses the one that would exceed a limit before it is sent.

    Several engines may share one. A run that is resumed gives what was spent before.

    Args:
        max_requests: Most requests in all; None for no limit.
        max_cost: Most US dollars in all; None for no limit.
        requests: Requests that were spent before.
        cost: US dollars that were spent before.
        record: Called with the price of each request before it is sent, to keep it where a kill does not lose it.

    Raises:
        ValueError: If a number is negative or not finite.

    Example:
        >>> budget = Budget(max_requests=1)
        >>> budget.spend("brave", 0.005)
        >>> budget.spend("brave", 0.005)
        Traceback (most recent call last):
        vl_explorer.search.engine.SearchError: brave: 1 of 1 requests are spent; raise max_requests to go on
    """

    def __init__(
        self,
        max_requests: int | None = None,
        max_cost: float | None = None,
        *,
        requests: int = 0,
        cost: float = 0.0,
        record: Callable[[float], object] | None = None,
    ) -> None:
        for name, value in (("max_requests", max_requests), ("requests", requests)):
            if value is not None and operator.index(value) < 0:
                raise ValueError(f"{name} must be at least 0, got {value!r}")
        for name, amount in (("max_cost", max_cost), ("cost", cost)):
            if amount is not None and not (math.isfinite(amount) and amount >= 0):
                raise ValueError(f"{name} must be a finite number of US dollars of at least 0, got {amount!r}")
        self.max_requests = max_requests
        self.max_cost = max_cost
        self.requests = requests
        self.cost = cost
        self.record = record

    def spend(self, engine: str, cost: float) -> None:
        """Count one request of an engine.

        Raises:
            SearchError: With reason ``"spent"``, if a limit does not allow it; nothing is counted then.
        """
        if self.max_requests is not None and self.requests + 1 > self.max_requests:
            raise SearchError(
                "spent",
                f"{engine}: {self.requests:,} of {self.max_requests:,} requests are spent; raise max_requests to go on",
            )
        # A rounding error in a sum of many prices must not refuse the last request that is paid for.
        if self.max_cost is not None and self.cost + cost > self.max_cost * (1 + 1e-9) and cost > 0:
            raise SearchError(
                "spent",
                f"{engine}: ${self.cost:.4g} of ${self.max_cost:.4g} are spent and a request costs ${cost:.4g}; "
                "raise max_cost to go on",
            )
        if self.record is not None:
            self.record(cost)
        self.requests += 1
        self.cost += cost
