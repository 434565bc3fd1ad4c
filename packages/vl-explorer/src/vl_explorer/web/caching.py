"""Remember what was asked of a host: bounded, for a while, and asked once at a time."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vl_explorer.web.pacing import Clock
from vl_explorer.web.reasons import Refusal

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass
class _Entry(Generic[Value]):
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    expires: float = -math.inf
    value: Value | Refusal | None = None


class Cache(Generic[Key, Value]):
    """Answers, and refusals, by key.

    Args:
        load: Asks for the answer to a key; returns it, or a `Refusal` to raise for everyone who asks, with the seconds
            for which either is remembered.
        clock: Tells the time.
        size: The most keys that are remembered; those that were not asked for the longest time go first.
    """

    def __init__(
        self, load: Callable[[Key], Awaitable[tuple[Value | Refusal, float]]], clock: Clock, size: int = 10_000
    ) -> None:
        self._load, self._clock, self._size = load, clock, size
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def get(self, key: Key) -> Value:
        """Return the answer, remembered or asked for; who asks meanwhile waits for the same one.

        Raises:
            Refusal: If that is the answer, with the seconds that are left of it.
        """
        if self._loop is not (loop := asyncio.get_running_loop()):  # Locks are those of one event loop.
            self._loop = loop
            for known in self._entries.values():
                known.lock = asyncio.Lock()
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
        async with entry.lock:
            if entry.value is None or self._clock.now() >= entry.expires:
                entry.value, lifetime = await self._load(key)
                entry.expires = self._clock.now() + lifetime
        if isinstance(entry.value, Refusal):
            left = entry.expires - self._clock.now()
            raise Refusal(entry.value.reason, entry.value.detail, max(entry.value.retry_after, left))
        return entry.value

    def __len__(self) -> int:
        """Return the number of keys that are remembered."""
        return len(self._entries)
