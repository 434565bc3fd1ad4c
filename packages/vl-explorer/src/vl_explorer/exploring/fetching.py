"""From a search result to an image, or to the reason why there is none; one download for each address."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from PIL import Image
from vl_core.data import ImageError

from vl_explorer.learning.images import SIDE, open_stored, reduced
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.store.claims import Claim
from vl_explorer.store.images import Outcome
from vl_explorer.store.likeness.filters import ImageFilter, first_reason
from vl_explorer.store.rights.licenses import is_allowed, license_id
from vl_explorer.store.rows import ResultLike, Source
from vl_explorer.store.store import Store
from vl_explorer.web.images import decode, read_image
from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Fetched, Reason, Refused

LEASE = 1800.0
"""Seconds for which a claim is held; images enter the store in the order of the queries, so some wait."""
_POLL = 0.2  # seconds between looks at a claim of another process


class Fetcher(Protocol):
    """Anything that fetches an address, such as `Downloader`; one with ``check_page`` is asked about pages too."""

    async def fetch(self, url: str) -> Fetched | Refused:
        """The bytes at an address, or the reason for which there are none."""

    async def close(self) -> None:
        """Give back connections."""


class LocalFetcher:
    """Reads addresses of a `CaptionEngine` from its images.

    Args:
        engine: With images.
    """

    def __init__(self, engine: CaptionEngine) -> None:
        self._engine = engine

    async def fetch(self, url: str) -> Fetched | Refused:
        """The image at an address of the engine, as a PNG file."""
        return await asyncio.to_thread(self._read, url)

    def _read(self, url: str) -> Fetched | Refused:
        buffer = io.BytesIO()
        try:
            self._engine.image(url).save(buffer, "PNG", compress_level=1)
        except (OSError, ValueError) as error:
            return Refused(url, Reason.broken, str(error)[:300])
        return Fetched(url, url, buffer.getvalue(), "image/png")

    async def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True)
class Offer:
    """Outcome of a search result."""

    result: ResultLike
    """As the engine gave it."""
    image: Image.Image | None = None
    """The image, `reduced`; None if there is none."""
    content: bytes = b""
    """File that is not in the store yet."""
    digest: str = ""
    """SHA-256 of an image that is in the store."""
    reason: str = ""
    """Reason for which there is no image."""


class Fetching:
    """Fetches results for a store, each address once, and enters them in the order that its caller gives.

    Args:
        store: Where images go.
        fetcher: For addresses that are not in it.
        policy: Limits of images.
        filters: Keep images out, see `vl_explorer.store.likeness.filters`.
        licenses: Classes and identifiers of licenses that are allowed, see `vl_explorer.store.rights.licenses`; None
            allows all.
    """

    def __init__(
        self,
        store: Store,
        fetcher: Fetcher,
        policy: Policy,
        *,
        filters: Sequence[ImageFilter] = (),
        licenses: Collection[str] | None = None,
    ) -> None:
        self.store = store
        self._fetcher, self._policy = fetcher, policy
        self._filters = tuple(filters)
        self._licenses = None if licenses is None else frozenset(licenses)
        self._under_way: dict[str, asyncio.Task[Offer]] = {}
        self._pages: dict[str, asyncio.Task[Refused | None]] = {}
        self._early: set[str] = set()

    async def fetch(self, result: ResultLike) -> Offer:
        """Fetch a result, or take part in the fetching of its address that is under way."""
        if self._licenses is not None and not is_allowed(
            license_id(result.license, result.license_url), self._licenses
        ):
            return Offer(result, reason="license")
        task = self._under_way.get(result.url)
        if task is None:
            task = self._under_way[result.url] = asyncio.create_task(self._fetch(result))
        offer = await asyncio.shield(task)
        return Offer(result, offer.image, offer.content, offer.digest, offer.reason)

    def forget(self, offers: Sequence[Offer]) -> None:
        """Drop what is held of offers that have entered."""
        for offer in offers:
            self._under_way.pop(offer.result.url, None)
            self._early.discard(offer.result.url)

    async def stop(self) -> None:
        """Cancel what is under way, and give up its claims, so that nobody waits for their leases to end."""
        tasks: list[asyncio.Task[Any]] = [*self._under_way.values(), *self._pages.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for url in self._under_way:
            await asyncio.to_thread(self.store.release, url)
        self._under_way.clear()
        self._pages.clear()
        self._early.clear()

    async def _fetch(self, result: ResultLike) -> Offer:
        claim = await self._claim(result.url)
        if claim is Claim.STORED:
            return await asyncio.to_thread(self._stored, result)
        if claim is not Claim.GRANTED:
            return Offer(result, reason=claim.value)
        objection = await self._objection(result.page_url)
        if objection is not None:
            return self._failed(result, objection.reason.value, objection.detail)
        answer = await self._fetcher.fetch(result.url)
        image = answer if isinstance(answer, Refused) else await asyncio.to_thread(decode, answer, self._policy)
        if isinstance(answer, Refused) or isinstance(image, Refused):
            refused = answer if isinstance(answer, Refused) else image
            assert isinstance(refused, Refused)
            return self._failed(result, refused.reason.value, refused.detail)
        reason = await asyncio.to_thread(first_reason, image, self._filters)
        if reason is not None:
            return self._failed(result, reason, "kept out by a filter")
        return Offer(result, await asyncio.to_thread(reduced, image), answer.body)

    async def _objection(self, page_url: str) -> Refused | None:
        """Refusal of a page to let its images be used; one that cannot be read says nothing, but to a strict policy."""
        check = getattr(self._fetcher, "check_page", None)
        if check is None or not page_url or not self._policy.pages:
            return None
        task = self._pages.get(page_url)
        if task is None:
            task = self._pages[page_url] = asyncio.create_task(check(page_url))
        said: Refused | None = await asyncio.shield(task)
        return said if said is not None and (said.reason is Reason.opt_out or self._policy.strict) else None

    async def _claim(self, url: str) -> Claim:
        while True:
            claim = await asyncio.to_thread(lambda: self.store.claim(url, lease=LEASE))
            if claim is not Claim.HELD:
                return claim
            await self._enter_early()
            await asyncio.sleep(_POLL)

    async def _enter_early(self) -> None:
        """Enter what was fetched, out of order: whoever is waited for may wait for it, and then both would for ever."""
        for url, task in list(self._under_way.items()):
            if url in self._early or not task.done() or task.cancelled() or task.exception() is not None:
                continue
            self._early.add(url)
            source = await asyncio.to_thread(self.store.source_of, url)
            await asyncio.to_thread(partial(self.enter, task.result(), engine=source.engine, query=source.query))

    def _stored(self, result: ResultLike) -> Offer:
        """The image of an address that is in the store; one that was evicted is not fetched again."""
        found = self.store.image_at(result.url)
        try:
            if found is not None and found.stored:
                return Offer(result, open_stored(self.store.path(found.sha256)), digest=found.sha256)
        except ImageError:  # The file was damaged on this disk.
            return Offer(result, reason=Reason.broken.value)
        except (KeyError, OSError):  # Another process evicted or forgot it meanwhile.
            pass
        return Offer(result, reason="evicted")

    def _failed(self, result: ResultLike, reason: str, detail: str) -> Offer:
        self.store.add_failure(result.url, reason, detail)
        return Offer(result, reason=reason)

    def enter(self, offer: Offer, *, engine: str, query: str) -> Offer:
        """Put the image of an offer into the store; to be called for one offer after the other.

        Returns:
            The offer with the digest of its image, or with the reason for which it stays out.
        """
        if offer.image is None or offer.digest:
            return offer
        result = offer.result
        known = self.store.image_at(result.url)
        if known is not None:  # An earlier query has entered it.
            return Offer(result, offer.image, digest=known.sha256)
        source = Source(
            result.url,
            result.page_url,
            result.title,
            result.author,
            result.license,
            result.license_url,
            engine,
            query,
        )
        whole = offer.image if max(offer.image.size) < SIDE else read_image(offer.content, self._policy)
        added = self.store.add_image(source, offer.content, whole)
        if added.outcome is Outcome.BLOCKED:
            return Offer(result, reason="blocked")
        return Offer(result, offer.image, digest=added.sha256)
