"""Internet Explorer's loop: propose, search, download, reward, learn, and propose again.

Li, Brown, Efros and Pathak, *Internet Explorer: Targeted Representation Learning on the Open Web*, 2023, algorithm 1.
A run is a function of its settings and of what the engine and the web answer: killed at any moment and started again,
it ends as it would have ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image
from vl_core.progress import progress_bar

from vl_explorer.embeddings.embedder import TextEmbedder
from vl_explorer.exploring.fetching import Fetcher, Fetching, LocalFetcher
from vl_explorer.exploring.gathering import BATCH, Gathered, Gathering, Scorer
from vl_explorer.exploring.proposing import LABEL, propose
from vl_explorer.exploring.settings import Exploration
from vl_explorer.exploring.stages import Stages, number_folder, stored_images, take_folder
from vl_explorer.exploring.summary import IterationSummary
from vl_explorer.exploring.versions import Versions
from vl_explorer.learning.images import reduced
from vl_explorer.learning.learner import Learner
from vl_explorer.models.acquisition import Acquisition, keep_observed
from vl_explorer.models.gaussian_process import GaussianProcess
from vl_explorer.models.model import ConceptModel
from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.search.engine import SearchEngine, SearchError
from vl_explorer.store.likeness.filters import ImageFilter
from vl_explorer.store.rights.licenses import check_allow
from vl_explorer.store.rows import Query, QueryState
from vl_explorer.store.store import Store
from vl_explorer.vocabulary.concepts import Descriptor, Vocabulary
from vl_explorer.web.downloader import Downloader
from vl_explorer.web.policy import Policy

_logger = logging.getLogger(__name__)
_BACKGROUND = 300  # images


class Explorer:
    """Searches the web for images that look like a target, and trains on them.

    Args:
        target: Images of the task, without labels: PIL images, or a data set whose items are images or begin with one.
        vocabulary: Concepts that may be searched for.
        engine: Answers queries. Addresses of a `CaptionEngine` are read from its images; others need a `downloader`.
        learner: Network that is trained on what is found, and scores it.
        out: Folder of the run; the store is in it unless another one is given.
        store: Store or its folder, which several explorers may share. A `Store` wants an ``owner`` of its own that
            stays the same when the run is resumed: what another owner was downloading when it was killed is waited for.
        name: Of the run in its store.
        settings: Every number of the exploration.
        embed: Texts of concepts to embeddings, for the default model; by default the word vectors that ship.
        model: Predicts rewards of concepts; by default a `GaussianProcess` over the embeddings of their names.
        acquisition: Scores of the concepts from the model; by default the paper's.
        labels: Names of classes, searched for themselves.
        descriptor: Gives words that are put before concepts.
        downloader: Fetches addresses of the web, a `Downloader` or another `Fetcher`; closed at the end of a run,
            and opened again by the next one.
        policy: Limits of images; by default the downloader's.
        filters: Keep images out, such as a `LeakGuard`.
        licenses: Classes and identifiers of licenses that are allowed; None allows all.
        deduplicate: Give near-duplicates of earlier images no reward and do not train on them.
        evaluate: Accuracy of the network that is trained, where labels are known; for the record alone.
        extra_settings: Anything else that the run depends on, such as the origin of its filters; kept in the store with
            the run, as JSON, and compared when it is resumed.

    Raises:
        OSError: If the store cannot be opened.
        TypeError: If the target holds something else than images, or the labels are one text.
        ValueError: If the target is empty, the model is for another vocabulary, an engine of the web has no downloader,
            a label comes twice, a license is misspelled, the run is there with other settings, or the folder has the
            learner of another run.

    Example:
        >>> explorer = Explorer(images, Vocabulary.of(words), engine, FixedLearner(encoder), out="found")
        >>> for summary in explorer.run():
        ...     print(summary.image_reward)
    """

    def __init__(
        self,
        target: Sequence[Any],
        vocabulary: Vocabulary,
        engine: SearchEngine,
        learner: Learner,
        *,
        out: str | os.PathLike[str],
        store: Store | str | os.PathLike[str] | None = None,
        name: str = "run",
        settings: Exploration | None = None,
        embed: TextEmbedder | None = None,
        model: ConceptModel | None = None,
        acquisition: Acquisition | None = None,
        labels: Sequence[str] = (),
        descriptor: Descriptor | None = None,
        downloader: Fetcher | None = None,
        policy: Policy | None = None,
        filters: Sequence[ImageFilter] = (),
        licenses: Collection[str] | None = None,
        deduplicate: bool = True,
        evaluate: Callable[[ImageEncoder], float] | None = None,
        extra_settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = Exploration() if settings is None else settings
        self.target = [_image_of(target[place]) for place in range(len(target))]
        if not self.target:
            raise ValueError("target must hold at least one image, got none; give images of the task")
        if len(self.target) < self.settings.neighbors:
            warnings.warn(
                f"target has {len(self.target)} images, fewer than neighbors={self.settings.neighbors}: an image's "
                "reward is its mean cosine to all of them; add target images, or lower neighbors",
                UserWarning,
                stacklevel=2,
            )
        if isinstance(labels, str):
            raise TypeError(f"labels must be a list of names, got the text {labels!r}; give [{labels!r}]")
        if len({label.strip() for label in labels} - {""}) < len(labels):
            raise ValueError(f"labels must be different names, none of them empty, got {', '.join(labels)[:200]!r}")
        if licenses is not None:
            check_allow(licenses)
        self._fetcher = _fetcher_of(engine, downloader)
        self.vocabulary, self.engine, self.learner = vocabulary, engine, learner
        self.model = _default_model(vocabulary, embed) if model is None else model
        if len(self.model.embeddings) != len(vocabulary):
            raise ValueError(
                f"model must be over the {len(vocabulary)} concepts of the vocabulary, got {len(self.model.embeddings)}"
            )
        if len(self.model.observations):
            raise ValueError("model must have no observations yet, since those of the run are read from its store")
        self.acquisition = keep_observed() if acquisition is None else acquisition
        self.labels, self.descriptor = tuple(labels), descriptor
        self.out = Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self._owns_store = not isinstance(store, Store)
        self.store = store if isinstance(store, Store) else Store(store or self.out, owner=f"run {name}")
        try:
            self.run_id = self._begin(name, deduplicate, licenses, extra_settings or {})
        except BaseException:
            self.close()
            raise
        if policy is None:
            policy = downloader.policy if isinstance(downloader, Downloader) else Policy()
        self._fetching = partial(Fetching, self.store, self._fetcher, policy, filters=filters, licenses=licenses)
        self._versions = Versions(self.store, learner.encoder()) if deduplicate else None
        self._evaluate = evaluate
        self._accuracies: dict[int, float] = {}
        self._observed: list[int] = []
        self._scored_by = learner.encoder().name
        self._stages = Stages(self.out, self.store, self.run_id, learner, self.target, self.settings)

    def _begin(self, name: str, deduplicate: bool, licenses: Collection[str] | None, extra: Mapping[str, Any]) -> int:
        settings = {
            **extra,
            **asdict(self.settings),
            **self.learner.describe(),
            "engine": self.engine.name,
            "target": len(self.target),
            "target_digest": _digest(f"{one.mode} {one.size} ".encode() + one.tobytes() for one in self.target),
            "concepts": len(self.vocabulary),
            "concepts_digest": _digest(concept.key.encode("utf-8", "surrogatepass") for concept in self.vocabulary),
            "labels": list(self.labels),
            "model": type(self.model).__name__,
            "embeddings_digest": _digest([np.ascontiguousarray(self.model.embeddings).tobytes()]),
            "acquisition": getattr(self.acquisition, "__qualname__", type(self.acquisition).__name__),
            "licenses": None if licenses is None else sorted(licenses),
            "deduplicate": deduplicate,
        }
        # How many iterations there are, and how much is under way at once, may change when a run is resumed.
        run = self.store.add_run(name, settings, free=("iterations", "queries_at_once"), folder=number_folder(self.out))
        take_folder(self.out, run)
        return run.id

    def __enter__(self) -> Self:
        """Give the explorer, whose store the end of the block closes if it is its own."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the store, if the explorer has opened it."""
        if self._owns_store:
            self.store.close()

    def summaries(self) -> list[IterationSummary]:
        """Summaries of all finished iterations, in order."""
        found = (iteration.summary for iteration in self.store.iterations(self.run_id))
        return [IterationSummary.from_json(summary) for summary in found if summary is not None]

    def run(
        self, *, progress: bool = True, each: Callable[[int, IterationSummary], None] | None = None
    ) -> list[IterationSummary]:
        """Run all iterations that are not finished; rerun to resume.

        Args:
            progress: Show a progress bar.
            each: Called with number and summary of each iteration that is finished.

        Returns:
            Summaries of all iterations, of earlier calls too; fewer than planned once every concept was searched for.

        Raises:
            RuntimeError: Inside of an event loop, such as that of a notebook.
            SearchError: If the engine accepts no more requests, or answered no query of an iteration. All that was
                found before is in the store.
        """
        if _in_loop():
            raise RuntimeError("run must be called outside of an event loop, got one; write `await explorer.explore()`")
        return asyncio.run(self.explore(progress=progress, each=each))

    async def explore(
        self, *, progress: bool = True, each: Callable[[int, IterationSummary], None] | None = None
    ) -> list[IterationSummary]:
        """The same as `run`, inside of an event loop, such as that of a notebook."""
        summaries = self.summaries()
        await asyncio.to_thread(self._resume, summaries)
        bar = progress_bar(total=self.settings.iterations, desc="explore", unit="iterations", disable=not progress)
        bar.update(len(summaries))
        try:
            for iteration in range(len(summaries), self.settings.iterations):
                summary = await self._iterate(iteration)
                if summary is None:
                    _logger.warning("iteration %d has no query, since every concept was searched for", iteration)
                    break
                summaries.append(summary)
                if all(reward is None for reward in summary.concept_rewards):
                    _logger.warning(
                        "no query of iteration %d brought %d images with a reward, so the concept model learned "
                        "nothing from it; lower min_results if that goes on",
                        iteration,
                        self.settings.min_results,
                    )
                bar.set_postfix(reward=f"{summary.image_reward:.3f}", new=summary.new, refresh=False)
                bar.update(1)
                if each is not None:
                    each(iteration, summary)
            await asyncio.to_thread(self._stages.advance, len(summaries))
        finally:
            bar.close()
            await self.engine.close()
            await self._fetcher.close()
        return summaries

    def _resume(self, summaries: Sequence[IterationSummary]) -> None:
        """Bring learner and model to where the finished iterations left them."""
        self._stages.restore(max(0, len(summaries) - 1))
        if len(self.model.observations):
            return
        for iteration, summary in enumerate(summaries):
            self._observe(iteration, summary.concept_rewards)
            # Predictions are made as they were, so that they are equal to the last digit.
            self.model.predict()
        self._replace_rewards()
        if summaries:
            self._scored_by = summaries[-1].encoder

    async def _iterate(self, iteration: int) -> IterationSummary | None:
        """One iteration; the learner trains on the one before, first or meanwhile."""
        queries = await asyncio.to_thread(self._queries, iteration)
        if not queries:
            return None
        if not self.settings.overlap:
            await asyncio.to_thread(self._stages.advance, iteration)
        encoder, network, updates = self.learner.encoder(), self.learner.network(), self.learner.updates
        training = asyncio.create_task(asyncio.to_thread(self._stages.advance, iteration))
        try:
            scorer = await asyncio.to_thread(self._scorer, encoder, iteration)
            accuracy = await asyncio.to_thread(self._accuracy, network, updates)
            found = [each async for each in self._gathering(scorer).gather(queries)]
        except BaseException:
            if not training.done():
                _logger.warning("the training under way is finished first; end the process to leave it, and rerun")
            raise
        finally:
            # A thread cannot be stopped, and what it learns is kept.
            await asyncio.gather(training, return_exceptions=True)
        await training
        if all(each.failed is not None for each in found):
            raise SearchError(
                "unreachable", f"no query of iteration {iteration} was answered; the last: {found[-1].failed}"
            )
        return await asyncio.to_thread(self._finish, iteration, found, scorer, updates, accuracy)

    def _queries(self, iteration: int) -> list[Query]:
        """Queries of an iteration: those that the store has, or else new ones, all at once."""
        found = self.store.queries(self.run_id, iteration)
        if found:
            return found
        proposals = propose(
            self.model,
            self.vocabulary,
            self.settings,
            iteration,
            acquisition=self.acquisition,
            asked={query.concept for query in self.store.queries(self.run_id)},
            labels=self.labels,
            descriptor=self.descriptor,
        )
        if not proposals:
            return []
        with self.store.transaction():
            self.store.add_iteration(self.run_id, iteration)
            return [
                self.store.add_query(
                    self.run_id, iteration, place, each.text, concept=each.concept, engine=self.engine.name
                )
                for place, each in enumerate(proposals)
            ]

    def _gathering(self, scorer: Scorer) -> Gathering:
        rewards = self.model.observations.rewards
        bar = float(np.quantile(rewards, self.settings.hopeless)) if self.settings.scouts and len(rewards) else None
        return Gathering(self.store, self.engine, self._fetching(), scorer, self.settings, bar)

    def _scorer(self, encoder: ImageEncoder, iteration: int) -> Scorer:
        """Rewards of an iteration by an encoder; from the second on by contrast with the images of the first."""
        settings = self.settings
        digests = self._first_images() if settings.contrast and iteration else []
        background = list(stored_images(self.store, digests).values())
        return Scorer(encoder, self.target, settings.neighbors, background, settings.contrast)

    def _first_images(self) -> list[str]:
        """Images of the first iteration by SHA-256, at most `_BACKGROUND` of them, taken evenly."""
        found: dict[str, None] = {}
        for query in self.store.queries(self.run_id, 0):
            results = self.store.results(query.id)
            dropped = query.state is QueryState.DROPPED
            for each in results[: self.settings.scouts] if dropped else results:
                if each.image is not None:
                    found[each.image] = None
        digests = list(found)
        return digests[:: -(-len(digests) // _BACKGROUND) or 1]

    def _accuracy(self, network: ImageEncoder, updates: int) -> float | None:
        """Accuracy of the network after so many updates, measured once."""
        if updates not in self._accuracies and self._evaluate is not None:
            self._accuracies[updates] = float(self._evaluate(network))
        return self._accuracies.get(updates)

    def _finish(
        self,
        iteration: int,
        found: Sequence[Gathered],
        scorer: Scorer,
        updates: int,
        accuracy: float | None,
    ) -> IterationSummary:
        """Keep rewards and summary in one step, and let the model see them."""
        versions = frozenset() if self._versions is None else self._versions.follow()
        rewards = {
            digest: reward
            for each in found
            for digest, reward in zip(each.digests, each.rewards, strict=True)
            if digest not in versions
        }
        values = sorted(rewards.values(), reverse=True)
        known = self.store.rewards(self.run_id)
        new = [digest for digest in rewards if digest not in known]
        self._stages.choose(iteration, new, rewards)
        if scorer.name != self._scored_by:
            rewards |= self._scored_again(rewards, scorer)
        self._scored_by = scorer.name
        with self.store.transaction():
            self.store.set_rewards(self.run_id, iteration, rewards)
            earned = self.store.query_rewards(self.run_id, top=self.settings.top)
            summary = IterationSummary(
                concept_rewards=tuple(self._concept_reward(earned.get(each.query.id)) for each in found),
                image_reward=_mean(values),
                best_reward=_mean(values[: -(-len(values) // 10)]),
                found=len(values),
                new=len(new),
                refused=sum(bool(offer.reason) for each in found for offer in each.offers),
                dropped=sum(each.dropped for each in found),
                requests=sum(query.requests for query in self.store.queries(self.run_id, iteration)),
                cost=math.fsum(query.cost for query in self.store.queries(self.run_id, iteration)),
                trained=updates,
                accuracy=accuracy,
                encoder=scorer.name,
            )
            self.store.finish_iteration(self.run_id, iteration, summary.to_json())
        self._observe(iteration, summary.concept_rewards)
        self._replace_rewards()
        return summary

    def _concept_reward(self, earned: tuple[int, float] | None) -> float | None:
        """Reward of a query's concept, None if it has too few images."""
        return earned[1] if earned is not None and earned[0] >= self.settings.min_results else None

    def _scored_again(self, fresh: Mapping[str, float], scorer: Scorer) -> dict[str, float]:
        """New rewards of the best images of earlier iterations, by the encoder of this one."""
        best = self.store.best_images(self.run_id, self.settings.rescored)
        digests = [digest for digest in best if digest not in fresh]
        found: dict[str, float] = {}
        for start in range(0, len(digests), BATCH):
            images = stored_images(self.store, digests[start : start + BATCH])
            found |= zip(images, scorer.score(list(images.values())).tolist(), strict=True)
        return found

    def _observe(self, iteration: int, rewards: Sequence[float | None]) -> None:
        """Show the model the rewards of an iteration, by the places of its queries; labels are none of its concepts."""
        queries = self.store.queries(self.run_id, iteration)
        seen = [
            (query.id, self.vocabulary.index_of(query.concept), reward)
            for query, reward in zip(queries, rewards, strict=True)
            if reward is not None and not query.concept.startswith(LABEL)
        ]
        if seen:
            self._observed += [query for query, _, _ in seen]
            self.model.observe([index for _, index, _ in seen], [reward for _, _, reward in seen])

    def _replace_rewards(self) -> None:
        """Give the model the present rewards of all that it observed."""
        before = self.model.observations.rewards
        earned = self.store.query_rewards(self.run_id, top=self.settings.top)
        present = np.array(
            [earned[query][1] if query in earned else before[place] for place, query in enumerate(self._observed)]
        )
        if not np.array_equal(present, before):
            self.model.replace(present)


def _fetcher_of(engine: SearchEngine, downloader: Fetcher | None) -> Fetcher:
    """Fetcher of the results of an engine: local addresses are the engine's own, whatever else may be fetched.

    Raises:
        ValueError: If its images are elsewhere, and there is no downloader.
    """
    if isinstance(engine, CaptionEngine):
        return LocalFetcher(engine)
    if downloader is None:
        raise ValueError(
            f"downloader must be given for the engine {engine.name}, whose images are elsewhere; pass "
            "Downloader(Policy(contact='you@example.org'))"
        )
    return downloader


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _digest(parts: Iterable[bytes]) -> str:
    """Digits that change if any of the parts does."""
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()[:16]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _default_model(vocabulary: Vocabulary, embed: TextEmbedder | None) -> GaussianProcess:
    """The Gaussian process over the embeddings of the concepts' names."""
    if embed is None:
        from vl_explorer.embeddings.glove import GloveNouns

        embed = GloveNouns()
    return GaussianProcess(embed([concept.name for concept in vocabulary]))


def _image_of(item: Any) -> Image.Image:
    """The image of a data set's item, which may have a label beside it, `reduced`.

    Raises:
        TypeError: If it is none of Pillow's.
    """
    image = item[0] if isinstance(item, tuple | list) and item else item
    if not isinstance(image, Image.Image):
        raise TypeError(f"target must hold PIL images, alone or first in a tuple, got {type(image).__name__}")
    return reduced(image)
