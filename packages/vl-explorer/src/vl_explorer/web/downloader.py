"""Fetch images from the open web, one URL at a time; every URL ends as its bytes or as a reason."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self, TypeVar

import httpcore2
import httpx2

from vl_explorer.web.network.connecting import CheckedBackend
from vl_explorer.web.network.resolver import CachedResolver, Resolver, SystemResolver
from vl_explorer.web.network.transfers import Answer, Transfers
from vl_explorer.web.pacing import Clock, Pacer, SystemClock, seconds_asked, wait_before_try
from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Fetched, Reason, Refusal, Refused, Transient
from vl_explorer.web.sites.files import REDIRECTS
from vl_explorer.web.sites.opt_outs import Consent, combined, header_consent, page_consent, page_text
from vl_explorer.web.sites.reservations import Reservations
from vl_explorer.web.sites.robots import Robots
from vl_explorer.web.sniffing import check_declared, sniff
from vl_explorer.web.urls import host_of, join, normalize

Result = TypeVar("Result")
_Take = Callable[[Answer, Consent], Awaitable[Result]]

KEPT_HEADERS = (
    "content-type",
    "content-usage",
    "date",
    "etag",
    "last-modified",
    "link",
    "tdm-policy",
    "tdm-reservation",
    "x-robots-tag",
)
"""Headers of an answer that are kept, which say where the image comes from and how it may be used."""

_IMAGES = "image/avif,image/webp,image/png,image/jpeg,image/gif,image/bmp"
_PAGES = "text/html,application/xhtml+xml"
_MAX_PAGE_BYTES = 512 * 1024


async def follow(url: str, policy: Policy, ask: Callable[[httpx2.URL], Awaitable[Result | httpx2.URL]]) -> Result:
    """Result of the first answer that is no redirect.

    Args:
        url: Any string.
        policy: ``max_redirects`` and ``ports``.
        ask: Result for an address, or the address to which a redirect leads.

    Raises:
        Refusal: If the address is malformed, the redirects go in a circle or are too many, or as ``ask`` does.
    """
    target = normalize(url, ports=policy.ports)
    seen = set()
    for _ in range(policy.max_redirects + 1):
        if target in seen:
            raise Refusal(Reason.redirects, f"the redirects come back to {target}")
        seen.add(target)
        found = await ask(target)
        if not isinstance(found, httpx2.URL):
            return found
        target = found
    raise Refusal(Reason.redirects, f"more than {policy.max_redirects} redirects, the last to {target}")


class Downloader:
    """Fetches URLs under a policy; may be used by many tasks at once, in one event loop at a time.

    Each hop of each URL is checked in full: its form, the block list, its address, the site's robots.txt and
    reservations, the opt-outs of the answer.

    Args:
        policy: All limits, and the contact without which nothing starts.
        resolver: Finds addresses of names, by default the system's.
        clock: Tells the time and waits.
        network: Opens sockets to addresses that were checked; tests give one that records.
        blocked: Says of a normalized URL why it must not be fetched, or None; for lists of hosts and of hashes of URLs.
        ssl_context: Certificates that are trusted, by default the system's.

    Raises:
        ValueError: If the policy has no contact.

    Example:
        >>> import asyncio
        >>> async def fetch(url: str) -> Fetched | Refused:
        ...     async with Downloader(Policy(contact="you@example.org")) as downloader:
        ...         return await downloader.fetch(url)
        >>> asyncio.run(fetch("http://169.254.169.254/latest/meta-data")).reason.value
        'forbidden_address'
    """

    def __init__(
        self,
        policy: Policy,
        *,
        resolver: Resolver | None = None,
        clock: Clock | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
        blocked: Callable[[str], str | None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.policy = policy
        self._clock = clock or SystemClock()
        self._system = SystemResolver()
        cached = CachedResolver(resolver or self._system, self._clock)
        backend = CheckedBackend(cached, allow_loopback=policy.allow_loopback, network=network)
        self._transfers = Transfers(policy, backend, ssl_context)
        self._pacer = Pacer(policy, self._clock)
        self._blocked = blocked
        self._robots = Robots(policy, self._get, self._clock)
        self._reservations = Reservations(policy, self._get, self._robots, self._clock)

    async def fetch(self, url: str) -> Fetched | Refused:
        """Fetch an image, and follow redirects to it.

        Args:
            url: Any string.

        Returns:
            The bytes of what is an image by its first bytes (`read_image` decodes them), or the reason for which there
            are none. Nothing that a server does raises an exception.
        """
        try:
            found = await follow(url, self.policy, self._ask_image)
        except Refusal as refusal:
            return refused(url, refusal)
        return replace(found, url=url)

    async def fetch_hop(self, url: str) -> Fetched | Refused | str:
        """Ask for one address and follow no redirect; the downloader of many machines gives hops to each other's hosts.

        Returns:
            As `fetch`, or the normalized address to which a redirect leads.
        """
        try:
            found = await self._ask_image(normalize(url, ports=self.policy.ports))
        except Refusal as refusal:
            return refused(url, refusal)
        return str(found) if isinstance(found, httpx2.URL) else found

    async def check_page(self, url: str) -> Refused | None:
        """Return why images of a page must not be used, or None if it does not say so in headers and meta tags.

        Under the strict policy the page or its site must say that they may.
        """
        try:
            await follow(url, self.policy, self._ask_page)
        except Refusal as refusal:
            return refused(url, refusal)
        return None

    async def check_page_hop(self, url: str) -> Refused | str | None:
        """Ask for one address of a page and follow no redirect, as `fetch_hop` does.

        Returns:
            As `check_page`, or the normalized address to which a redirect leads.
        """
        try:
            found = await self._ask_page(normalize(url, ports=self.policy.ports))
        except Refusal as refusal:
            return refused(url, refusal)
        return None if found is None else str(found)

    async def close(self) -> None:
        """Close all connections; the downloader may be used again."""
        await self._transfers.close()
        self._system.close()

    async def __aenter__(self) -> Self:
        """Return the downloader, to be closed at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self.close()

    async def _ask_image(self, url: httpx2.URL) -> Fetched | httpx2.URL:
        async def take(answer: Answer, said: Consent) -> Fetched:
            self._refuse_silence(said)
            check_declared(answer.header("content-type"))
            body = await answer.read(self.policy.max_bytes)
            kept = {name: answer.header(name) for name in KEPT_HEADERS if answer.header(name)}
            return Fetched(str(url), str(answer.url), body, sniff(body), kept)

        return await self._ask(url, _IMAGES, take)

    async def _ask_page(self, url: httpx2.URL) -> httpx2.URL | None:
        async def take(answer: Answer, said: Consent) -> None:
            body = await answer.read(_MAX_PAGE_BYTES, cut=True)
            said = combined([said, await asyncio.to_thread(page_consent, page_text(body), self.policy.agent)])
            _refuse_objection(said)
            self._refuse_silence(said)

        return await self._ask(url, _PAGES, take)

    async def _ask(self, url: httpx2.URL, accept: str, take: _Take[Result]) -> Result | httpx2.URL:
        """Result of ``take`` for the answer, or the URL to which it leads; asks again where that may help."""
        self._check(url)
        rules = await self._robots.check(url)
        said = rules.consent(str(url))
        if self.policy.reservations:
            said = combined([said, await self._reservations.consent(url)])
        _refuse_objection(said)
        for tried in itertools.count(1):
            try:
                async with self._get(url, accept=accept, interval=rules.delay()) as answer:
                    return await self._answered(answer, said, take)
            except Transient as refusal:
                self._pacer.hold(host_of(url), wait_before_try(tried, refusal.retry_after, self.policy))
                if tried == self.policy.tries:
                    raise
        raise AssertionError("the loop ends by a return or a refusal")

    async def _answered(self, answer: Answer, said: Consent, take: _Take[Result]) -> Result | httpx2.URL:
        said = combined([said, header_consent(answer, self.policy.agent)])
        _refuse_objection(said)
        if answer.status in REDIRECTS and answer.raw("location"):
            return join(answer.url, answer.raw("location"), ports=self.policy.ports)
        if answer.status == 200:
            return await take(answer, said)
        asked = seconds_asked(answer.header("retry-after"), self._clock.date())
        if answer.status == 429:
            raise Transient(Reason.throttled, f"{answer.url} answers 429", asked)
        if answer.status == 408 or answer.status >= 500:
            raise Transient(Reason.status, f"{answer.url} answers {answer.status}", asked)
        raise Refusal(Reason.status, f"{answer.url} answers {answer.status}")

    def _refuse_silence(self, said: Consent) -> None:
        if self.policy.strict and said.given is None:
            raise Refusal(Reason.opt_out, "nothing says that it may be used, and the policy is strict")

    def _check(self, url: httpx2.URL) -> None:
        why = self._blocked(str(url)) if self._blocked else None
        if why:
            raise Refusal(Reason.blocked, why)

    @asynccontextmanager
    async def _get(self, url: httpx2.URL, *, accept: str = "*/*", interval: float = 0.0) -> AsyncIterator[Answer]:
        """One request, checked and in turn."""
        self._check(url)
        async with self._pacer.turn(host_of(url), interval=interval), self._transfers.get(url, accept) as answer:
            yield answer


def refused(url: str, refusal: Refusal) -> Refused:
    """The refusal as a result."""
    return Refused(url, refusal.reason, refusal.detail, refusal.retry_after)


def _refuse_objection(said: Consent) -> None:
    if said.given is False:
        raise Refusal(Reason.opt_out, f"{said.source} says no")
