"""Pace at which a host is asked: an interval, a number at a time, and longer waits where it asks for them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol

from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Reason, Refusal

_REMEMBERED = 10_000


class Clock(Protocol):
    """Time, as a test may replace it."""

    def now(self) -> float:
        """Seconds that never go back, from any beginning."""

    def date(self) -> float:
        """Seconds since 1970, as dates in headers count."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def date(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass
class _Host:
    places: asyncio.Semaphore
    door: asyncio.Lock
    free_at: float = -math.inf
    held_until: float = -math.inf
    waiting: int = 0


class Pacer:
    """Turns of hosts, within the limits of a policy.

    Args:
        policy: ``per_host_interval``, ``per_host_connections``, ``connections``, ``max_wait``.
        clock: Tells the time and waits.
    """

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy, self._clock = policy, clock
        self._places = asyncio.Semaphore(policy.connections)
        self._hosts: dict[str, _Host] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def turn(self, host: str, *, interval: float = 0.0) -> AsyncIterator[None]:
        """Wait until the host may be asked, and hold a place among those that ask it.

        Args:
            host: Name or address.
            interval: Seconds between two beginnings, where the host wants more than the policy.

        Raises:
            Refusal: With reason ``throttled`` if the host is held for longer than ``max_wait``.
        """
        self._follow_loop()
        state = self._host(host)
        state.waiting += 1
        try:
            async with state.places:
                # One at a time, so that whoever came first goes first, and nobody else moves the end of the interval.
                async with state.door:
                    place = await self._place(host, state)
                    state.free_at = self._clock.now() + max(interval, self._policy.per_host_interval)
                try:
                    yield
                finally:
                    place.release()
        finally:
            state.waiting -= 1

    def hold(self, host: str, seconds: float) -> None:
        """Ask the host nothing for some seconds from now."""
        state = self._host(host)
        state.held_until = max(state.held_until, self._clock.now() + seconds)

    async def _place(self, host: str, state: _Host) -> asyncio.Semaphore:
        """Take a place among all requests at a moment at which the host may be asked."""
        places = self._places
        while True:
            while (wait := max(state.free_at, state.held_until) - self._clock.now()) > 0:
                self._refuse_long_holds(host, state)
                await self._clock.sleep(wait)
            # Not taken before, since other hosts could use it during the sleep.
            await places.acquire()
            if state.held_until <= self._clock.now():
                return places
            places.release()

    def _refuse_long_holds(self, host: str, state: _Host) -> None:
        left = state.held_until - self._clock.now()
        if left > self._policy.max_wait:
            raise Refusal(Reason.throttled, f"{host} asked for no request for another {left:.0f} s", left)

    def _follow_loop(self) -> None:
        """Begin with free places in another event loop; pace and holds stay."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._places = loop, asyncio.Semaphore(self._policy.connections)
            for state in self._hosts.values():
                state.places, state.waiting = asyncio.Semaphore(self._policy.per_host_connections), 0
                state.door = asyncio.Lock()

    def _host(self, host: str) -> _Host:
        if host not in self._hosts:
            if len(self._hosts) >= _REMEMBERED:
                self._forget()
            self._hosts[host] = _Host(asyncio.Semaphore(self._policy.per_host_connections), asyncio.Lock())
        return self._hosts[host]

    def _forget(self) -> None:
        now = self._clock.now()
        self._hosts = {
            host: state
            for host, state in self._hosts.items()
            if state.waiting or max(state.free_at, state.held_until) > now
        }


def wait_before_try(tried: int, asked: float, policy: Policy) -> float:
    """Seconds to wait after some tries: the back-off doubles up to the longest wait, and what was asked for counts."""
    return max(min(policy.backoff * 2.0 ** (tried - 1), policy.max_wait), asked)


def seconds_asked(retry_after: str, date: float) -> float:
    """Seconds that a Retry-After header asks for; 0 if it is missing, malformed or in the past.

    Args:
        retry_after: Seconds, or a date.
        date: Seconds since 1970 now.

    Example:
        >>> seconds_asked("120", 0.0), seconds_asked("Thu, 01 Jan 1970 00:01:00 GMT", 0.0), seconds_asked("soon", 0.0)
        (120.0, 60.0, 0.0)
    """
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - date)
    except (ValueError, TypeError, OverflowError):
        return 0.0
