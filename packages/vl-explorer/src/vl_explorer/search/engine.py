"""The signature of all search engines: a query and a count in, results in the order of the engine out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple, Protocol

Reason = Literal["throttled", "unauthorized", "malformed", "unreachable", "refused", "spent"]


@dataclass(frozen=True)
class SearchResult:
    """One image that an engine found, with what it says of its origin; texts that it does not give are empty."""

    url: str
    """Address of the image, by ``http`` or ``https``, or ``local:NAME/NUMBER`` for an image of `CaptionEngine`."""
    page_url: str = ""
    """The page that shows the image."""
    thumbnail_url: str = ""
    """A small version of the image."""
    title: str = ""
    """Title or caption."""
    author: str = ""
    """Author of the image."""
    license: str = ""
    """Name of the license as the engine gives it."""
    license_url: str = ""
    """Text of the license."""
    width: int = 0
    """Width of the image in pixels, 0 where the engine does not say."""
    height: int = 0
    """Height of the image in pixels, 0 where the engine does not say."""
    identifier: str = ""
    """The engine's own name for the image."""


class Estimate(NamedTuple):
    """Requests, cost and time of searches, before anything is spent."""

    requests: int
    """Requests to the service; 0 for a local engine."""
    cost: float
    """In US dollars."""
    seconds: float
    """By the pace of the engine alone."""


@dataclass(frozen=True)
class Limits:
    """Most results that an engine gives, its pace, its price, and the day it closes."""

    results_per_page: int
    """Results of one request."""
    depth: int
    """Results of one query over all its pages."""
    requests_per_second: float
    """Pace that the engine allows; infinite for local ones."""
    cost_per_request: float = 0.0
    """Price of one request in US dollars."""
    retires: date | None = None
    """The day from which the service is closed."""
    needs_key: bool = False
    """True if nothing can be searched without a key."""
    notes: str = ""
    """Anything else that a user should know before the first request."""
    checked: date | None = None
    """The day on which price, limits and retirement were looked up."""

    def estimate(self, searches: int, count: int) -> Estimate:
        """Estimate of what some searches for ``count`` results each take, if pages are full and no request is repeated.

        It is no bound, since more pages are asked for where they hold fewer usable results; a `Budget` is one.

        Example:
            >>> Limits(100, 1000, 1.0, cost_per_request=0.015).estimate(searches=256, count=150).requests
            512
        """
        if self.requests_per_second == math.inf:
            return Estimate(0, 0.0, 0.0)
        requests = searches * -(-min(count, self.depth) // self.results_per_page)
        return Estimate(requests, requests * self.cost_per_request, requests / self.requests_per_second)

    def describe(self, name: str) -> str:
        """Limits, cost and retirement of the engine ``name`` in one line.

        Example:
            >>> Limits(20, 240, 1.0, checked=date(2026, 11, 28)).describe("openverse")
            'openverse: free; 20 results a request, 240 a query; 1 request a second; checked 2026-11-28'
        """
        per_second = self.requests_per_second
        count, unit = (per_second, "second") if per_second >= 1 else (60 * per_second, "minute")
        pace = f"{count:g} request{'s' * (count != 1)} a {unit}"
        parts = [
            f"${self.cost_per_request:g} a request" if self.cost_per_request else "free",
            f"{self.results_per_page:,} results a request, {self.depth:,} a query",
            "as fast as this machine" if per_second == math.inf else pace,
            "needs a key" if self.needs_key else "",
            self.notes,
            f"closes on {self.retires}" if self.retires else "",
            f"checked {self.checked}" if self.checked else "",
        ]
        return f"{name}: {'; '.join(part for part in parts if part)}"


@dataclass(frozen=True)
class SearchPage:
    """The results of one search, best first, and what it took to get them."""

    results: tuple[SearchResult, ...]
    """At most as many as were asked for, each address once."""
    exhausted: bool
    """True if asking for more would give no more; there are no further results, or the engine goes no deeper."""
    requests: int
    """Requests that were sent, repeated ones among them; 0 for a local engine."""
    cost: float
    """Price of these requests in US dollars, as if each were charged."""


class SearchError(Exception):
    """A search that failed; the message never holds a key.

    Args:
        reason: ``"throttled"`` (asked to slow down longer than it may wait), ``"unauthorized"`` (no key, or one that
            is not accepted), ``"malformed"`` (the answer is not what is documented, or the query is not what the
            service takes), ``"unreachable"`` (no answer, or an error of the server), ``"refused"`` (by the service, or
            because it is closed) or ``"spent"`` (a budget or the service's plan allows no further request).
        message: The engine, what happened, and what to do.
        partial: What was found before it failed, with the requests and the cost that were spent.
    """

    def __init__(self, reason: Reason, message: str, partial: SearchPage | None = None) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.partial = partial

    def __reduce__(self) -> tuple[type[SearchError], tuple[Reason, str, SearchPage | None]]:
        return type(self), (self.reason, str(self), self.partial)


class SearchEngine(Protocol):
    """Anything that finds images by words."""

    @property
    def name(self) -> str:
        """Name of the engine, as it is stored beside its results."""

    @property
    def limits(self) -> Limits:
        """Most results that the engine gives, its pace and its price."""

    def describe(self) -> str:
        """Limits, cost and retirement in one line, to be shown before anything is spent."""

    async def search(self, query: str, count: int) -> SearchPage:
        """The first ``count`` results for a query, over as many pages as that takes.

        What a deterministic engine answers depends on the query and the count alone.

        Raises:
            SearchError: If the engine cannot answer.
            ValueError: If the query is empty or the count below 1.
        """

    async def close(self) -> None:
        """Give back connections; the engine may be used again."""


def checked_query(query: str, count: int) -> str:
    """The query with single spaces.

    Raises:
        ValueError: If it has no word or cannot be sent, or the count is no whole number of at least 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count must be a whole number of at least 1, got {count!r}")
    text = " ".join(query.split()) if isinstance(query, str) else ""
    if not text or not text.isprintable():
        raise ValueError(f"query must be text with a word and without control characters, got {query!r}")
    return text
