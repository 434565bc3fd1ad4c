"""Addresses of a host: from the system, remembered for a while, replaceable in tests."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from vl_explorer.web.caching import Cache
from vl_explorer.web.pacing import Clock
from vl_explorer.web.reasons import Reason, Refusal

_LIFETIME = 300.0
_LIFETIME_OF_FAILURE = 30.0
_SECONDS = 10.0
_THREADS = 16


class Resolver(Protocol):
    """Anything that finds addresses."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the IPv4 and IPv6 addresses of a name, best first; empty if there is none.

        Raises:
            OSError: If the look-up failed.
        """


class SystemResolver:
    """The look-up of the operating system, in threads of its own: a slow one does not hold up other work."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses in the order of preference of the system."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolver")
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host)
        return tuple(dict.fromkeys(found))

    def close(self) -> None:
        """End all look-ups; a later one begins anew."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class CachedResolver:
    """Another resolver's answers, for ``lifetime`` seconds, and its failures for 30.

    Each look-up ends within 10 seconds.

    Args:
        resolver: The one that is asked.
        clock: Tells the time.
        lifetime: Seconds for which addresses are remembered.
        size: The most hosts that are remembered.
    """

    def __init__(self, resolver: Resolver, clock: Clock, *, lifetime: float = _LIFETIME, size: int = 10_000) -> None:
        self._resolver, self._lifetime = resolver, lifetime
        self._cache: Cache[str, tuple[str, ...]] = Cache(self._load, clock, size)

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses; an address is its own.

        Raises:
            Refusal: With reason ``dns`` if there is none.
        """
        try:
            return (str(ipaddress.ip_address(host)),)
        except ValueError:
            return await self._cache.get(host)

    async def _load(self, host: str) -> tuple[tuple[str, ...] | Refusal, float]:
        try:
            async with asyncio.timeout(_SECONDS):
                found = await self._resolver.resolve(host)
        # An OSError may be the time-out; a ValueError is a name that no look-up can encode.
        except (OSError, ValueError) as error:
            told = str(error) or f"no answer within {_SECONDS:g} s"
            return Refusal(Reason.dns, f"{host} was not found: {told}"), _LIFETIME_OF_FAILURE
        if not found:
            return Refusal(Reason.dns, f"{host} has no address"), _LIFETIME_OF_FAILURE
        return found, self._lifetime
