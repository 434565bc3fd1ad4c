"""The queries of an iteration: searched, downloaded, scored and dropped side by side; entered in their order."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vl_explorer.exploring.fetching import Fetching, Offer
from vl_explorer.exploring.settings import Exploration
from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.rewards.images import contrast_rewards, image_rewards
from vl_explorer.search.engine import SearchEngine, SearchError
from vl_explorer.store.rows import Query, QueryState, Result
from vl_explorer.store.store import Store

_logger = logging.getLogger(__name__)
BATCH = 256
"""Images that are encoded at once."""
_ENDS_RUN = ("unauthorized", "spent")  # after which no other search will do better


class Scorer:
    """Rewards of images by one encoder; asked one batch at a time.

    Args:
        encoder: Frozen.
        target: Images of the task.
        neighbors: Nearest target images of a reward; all where there are fewer.
        background: Images of the web, likeness to which is taken off a reward.
        contrast: Weight of that.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        target: Sequence[Image.Image],
        neighbors: int,
        background: Sequence[Image.Image] = (),
        contrast: float = 0.0,
    ) -> None:
        self._encoder, self._neighbors = encoder, min(neighbors, len(target))
        self._target = np.concatenate(list(self._features(target)))
        self._background = np.concatenate(list(self._features(background))) if contrast and background else None
        self._contrast, self._turn = contrast, asyncio.Lock()

    @property
    def name(self) -> str:
        """Name of the encoder, and of what else decides the rewards: only those of equal names compare."""
        return self._encoder.name + ("" if self._background is None else " with contrast")

    async def rewards(self, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Rewards ``(n,)``, computed in a thread."""
        async with self._turn:
            return await asyncio.to_thread(self.score, images)

    def score(self, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Rewards ``(n,)``."""
        found = [self._score(features) for features in self._features(images)]
        return np.concatenate(found) if found else np.zeros(0)

    def _score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        rewards = image_rewards(features, self._target, neighbors=self._neighbors)
        if self._background is None:
            return rewards
        return contrast_rewards(rewards, features, self._background, weight=self._contrast, neighbors=self._neighbors)

    def _features(self, images: Sequence[Image.Image]) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(images), BATCH):
            yield self._encoder(images[start : start + BATCH])


@dataclass(frozen=True)
class Gathered:
    """Outcome of a query."""

    query: Query
    """The query."""
    offers: tuple[Offer, ...]
    """Of its results that were looked at, in the order of the engine."""
    rewards: tuple[float, ...]
    """Of the images among them, in the same order."""
    digests: tuple[str, ...] = ()
    """Of these images, once they are in the store."""
    dropped: bool = False
    """True if results were left because the first ones were hopeless."""
    failed: SearchError | None = None
    """Why the engine gave no answer."""


class Gathering:
    """Gathers what the queries of an iteration bring.

    A query is searched once: its results are in the store from then on. Whatever is asked for again after a kill gives
    the same, since all decisions are functions of the results, the scorer and the bar.

    Args:
        store: Of the run.
        engine: Answers queries.
        fetching: Fetches their results.
        scorer: Scores images.
        settings: Of the exploration.
        bar: Reward that the best scout of a query must reach; None drops none.
    """

    def __init__(
        self,
        store: Store,
        engine: SearchEngine,
        fetching: Fetching,
        scorer: Scorer,
        settings: Exploration,
        bar: float | None,
    ) -> None:
        self._store, self._engine, self._fetching, self._scorer = store, engine, fetching, scorer
        self._settings, self._bar = settings, bar

    async def gather(self, queries: Sequence[Query]) -> AsyncIterator[Gathered]:
        """Give outcomes in the order of the queries, each with its images in the store."""
        waiting = iter(queries)
        tasks: deque[asyncio.Task[Gathered]] = deque()
        try:
            while True:
                while len(tasks) < self._settings.queries_at_once and (query := next(waiting, None)) is not None:
                    tasks.append(asyncio.create_task(self._query(query)))
                if not tasks:
                    return
                yield await asyncio.to_thread(self._entered, await tasks.popleft())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._fetching.stop()

    async def _query(self, query: Query) -> Gathered:
        try:
            results = await self._searched(query)
        except SearchError as error:
            await asyncio.to_thread(self._failed, query, error)
            return Gathered(query, (), (), failed=error)
        scouts = self._settings.scouts if self._bar is not None else 0
        first = await self._fetched(results[:scouts])
        rewards = await self._scored(first)
        if len(results) > scouts > 0 and (not rewards or max(rewards) < (self._bar or 0.0)):
            return Gathered(query, first, rewards, dropped=True)
        others = await self._fetched(results[scouts:])
        return Gathered(query, (*first, *others), (*rewards, *await self._scored(others)))

    async def _searched(self, query: Query) -> Sequence[Result]:
        if query.state in (QueryState.OPEN, QueryState.FAILED):
            try:
                page = await self._engine.search(query.text, self._settings.results)
            except ValueError as error:  # Nothing can be done about a text that cannot be sent.
                raise SearchError("malformed", str(error)) from error
            except SearchError as error:
                if error.reason in _ENDS_RUN or error.partial is None or not error.partial.results:
                    raise
                page = error.partial
                _logger.warning("query %r goes on with %d results: %s", query.text, len(page.results), error)
            await asyncio.to_thread(
                lambda: self._store.add_results(
                    query.id,
                    page.results[: self._settings.results],
                    requests=query.requests + page.requests,
                    cost=query.cost + page.cost,
                    exhausted=page.exhausted,
                )
            )
        return await asyncio.to_thread(self._store.results, query.id)

    def _failed(self, query: Query, error: SearchError) -> None:
        """Keep that a query failed, and what it took nevertheless."""
        with self._store.transaction():
            if (spent := error.partial) is not None:
                requests, cost = query.requests + spent.requests, query.cost + spent.cost
                self._store.add_results(query.id, (), requests=requests, cost=cost)
            self._store.set_query_state(query.id, QueryState.FAILED)

    async def _fetched(self, results: Sequence[Result]) -> tuple[Offer, ...]:
        return tuple(await asyncio.gather(*map(self._fetching.fetch, results)))

    async def _scored(self, offers: Sequence[Offer]) -> tuple[float, ...]:
        images = [offer.image for offer in offers if offer.image is not None]
        return tuple((await self._scorer.rewards(images)).tolist())

    def _entered(self, found: Gathered) -> Gathered:
        """Put the images of a query into the store, and say how far it has come."""
        query = found.query
        if found.failed is not None:
            _logger.warning("query %r failed: %s", query.text, found.failed)
            if found.failed.reason in _ENDS_RUN:
                raise found.failed
            return found
        entered = [self._fetching.enter(offer, engine=query.engine, query=query.text) for offer in found.offers]
        self._fetching.forget(entered)
        scored = iter(found.rewards)
        rewards = [next(scored) if offer.image is not None else math.nan for offer in found.offers]
        kept = [(offer.digest, reward) for offer, reward in zip(entered, rewards, strict=True) if offer.digest]
        if found.dropped:
            self._store.set_query_state(query.id, QueryState.DROPPED)
        return replace(
            found,
            # The images themselves are not needed any more.
            offers=tuple(replace(offer, image=None, content=b"") for offer in entered),
            digests=tuple(digest for digest, _ in kept),
            rewards=tuple(reward for _, reward in kept),
        )
