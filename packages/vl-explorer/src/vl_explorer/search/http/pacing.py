"""Pacing of requests to one service, for all searches that run at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class Pacer:
    """Lets requests pass at a pace, in the order in which they ask.

    Args:
        requests_per_second: The pace; infinite for none.
        clock: Seconds that only grow.
        sleep: Waits for seconds.

    Raises:
        ValueError: If the pace is not above 0.
    """

    def __init__(
        self,
        requests_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if not requests_per_second > 0:
            raise ValueError(f"requests_per_second must be above 0, got {requests_per_second!r}")
        self.interval = 1 / requests_per_second
        self._clock = clock
        self._sleep = sleep
        self._free = -math.inf
        self._door = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self) -> None:
        """Wait for the next free moment, one search at a time, so that two never share one."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # A lock belongs to one event loop; the pace stays.
            self._loop, self._door = loop, asyncio.Lock()
        async with self._door:
            while (wait := self._free - self._clock()) > 0:
                await self._sleep(wait)
            self._free = self._clock() + self.interval

    def hold(self, seconds: float) -> None:
        """Let nothing pass for some seconds."""
        self._free = max(self._free, self._clock() + seconds)


def retry_after(value: str | None, now: datetime | None = None) -> float:
    """Seconds that a header ``Retry-After`` asks to wait; 0 where it is absent or means nothing.

    Args:
        value: The header, in seconds or as a date.
        now: The present, with a time zone; by default the clock's.

    Example:
        >>> retry_after("120")
        120.0
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # Longer numbers are no seconds that anybody would wait.
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    present = datetime.now(UTC) if now is None else now
    # A date in "-0000" comes without a time zone and means UTC.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - present).total_seconds())
