"""Run the searches of many images concurrently, so that the network gets full batches.

New images are started while the open searches request less than a few batches, and leave when their search ends. A
race with two remaining classes shares its batches with dozens of other images; an expensive image fills them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vl_diffusion.classification.candidates import Candidates
from vl_diffusion.scoring.aggregation import Aggregation, draw_scores
from vl_diffusion.scoring.evaluator import EvaluationBatch
from vl_diffusion.search import Request, Search, SearchInput, SearchResult
from vl_diffusion.search.budgets import divide_budget

# Searches are opened until they request this many batches, so that the last batch of a round, which may not be full, is
# a small part of it.
_BATCHES_A_ROUND = 4


class Evaluator(Protocol):
    """Computes errors: :class:`~vl_diffusion.scoring.evaluator.ErrorEvaluator`, or a cache in front of it."""

    @property
    def batch_size(self) -> int:
        """Batch size: evaluations per call of the network."""
        ...

    def __call__(
        self, latents: Tensor, image_ids: np.ndarray, batch: EvaluationBatch, advance: Callable[[int], object] = ...
    ) -> np.ndarray:
        """Compute the error of each evaluation, float32 ``(J,)``."""
        ...


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image encoded for the model, the input of a search.

    Attributes:
        index: Index of the image in the input sequence.
        image_id: The id that determines its noise.
        latent: ``(c, h, w)``, the clean image or its latent.
        logits: Scores ``(K,)`` of the classes from another model; None without one.
    """

    index: int
    image_id: int
    latent: Tensor
    logits: np.ndarray | None = None


@dataclass(eq=False)
class SearchState:
    """The search of one image: its pending request, the errors so far, and finally its prediction.

    Attributes:
        image: The image.
        errors: float32 ``(A, M)``, weighted errors of A candidates on M draws; NaN where not evaluated.
        scores: float32 ``(A, M)``, the values that the search compares: `errors` itself for aggregation by the mean.
        search: The running search.
        request: The pending request; None once the search has ended.
        prediction: Index of the best candidate, possibly a `SearchResult`; -1 while the search is open.
    """

    image: EncodedImage
    errors: np.ndarray
    scores: np.ndarray
    search: Generator[Request, np.ndarray, int]
    request: Request | None = field(init=False)
    prediction: int = -1

    def __post_init__(self) -> None:
        try:
            self.request = next(self.search)
        except StopIteration as end:
            self.request, self.prediction = None, end.value

    @property
    def leader(self) -> int:
        """The predicted candidate; during the search, the one with the smallest mean among those with most draws."""
        if self.prediction >= 0:
            return self.prediction
        count = (~np.isnan(self.scores)).sum(1)
        mean = np.where(count == count.max(), np.nansum(self.scores, 1), np.inf)
        return int(mean.argmin())

    @property
    def pruned(self) -> np.ndarray:
        """Mask ``(A,)`` of pruned candidates: those evaluated less often than the leader, or not remaining."""
        count = (~np.isnan(self.scores)).sum(1)
        pruned: np.ndarray = count < count[self.leader]
        if isinstance(self.prediction, SearchResult):
            pruned |= ~np.isin(np.arange(len(pruned)), self.prediction.remaining)
        return pruned

    def receive(self, errors: np.ndarray, scores: np.ndarray) -> None:
        """Record the requested errors and scores, both ``(candidates, draws)``, and advance the search."""
        assert self.request is not None
        candidates, draws = self.request
        self.errors[candidates[:, None], draws] = errors
        self.scores[candidates[:, None], draws] = scores
        try:
            self.request = self.search.send(scores)
        except StopIteration as end:
            self.request, self.prediction = None, end.value


@dataclass(frozen=True, eq=False)
class Engine:
    """Runs searches over candidates with the errors of an evaluator.

    Attributes:
        evaluator: Computes the errors.
        candidates: The candidates of the search.
        num_choices: Number of candidates that a search may predict; the others are names of inner tree nodes.
        weights: float32 ``(M,)``, the weight of each draw.
        aggregation: How the errors of a draw are turned into scores.
    """

    evaluator: Evaluator
    candidates: Candidates
    num_choices: int
    weights: np.ndarray
    aggregation: Aggregation = "mean"

    def run(
        self, encoded_images: Iterator[EncodedImage], search: Search, advance: Callable[[int], object] = lambda n: None
    ) -> Iterator[SearchState]:
        """Search all images.

        Args:
            encoded_images: The images, consumed one by one as searches are opened.
            search: The search strategy.
            advance: Called after each batch with its number of evaluations.

        Yields:
            Finished searches, in the order in which they finish.

        Raises:
            ValueError: If the network's output has another shape than the image, or is NaN or infinite.
        """
        batch_size = self.evaluator.batch_size
        sizes = self.candidates.sizes
        search = fit_budget(search, self.candidates)
        waiting: list[SearchState] = []
        exhausted = False
        while True:
            while not exhausted and sum(_cost(t, sizes) for t in waiting) < _BATCHES_A_ROUND * batch_size:
                encoded = next(encoded_images, None)
                if encoded is None:
                    exhausted = True
                    break
                state = self._open(encoded, search)
                if state.request is None:
                    yield state
                else:
                    waiting.append(state)
            if not waiting:
                return
            chosen = _in_full_batches(waiting, [_cost(t, sizes) for t in waiting], batch_size)
            self._evaluate(chosen, advance)
            yield from (state for state in chosen if state.request is None)
            waiting = [state for state in waiting if state.request is not None]

    def watch(self, encoded: EncodedImage, search: Search) -> Iterator[SearchState]:
        """Search one image and yield its state after every round, the last time with its prediction."""
        state = self._open(encoded, fit_budget(search, self.candidates))
        while state.request is not None:
            self._evaluate([state], lambda n: None)
            yield state

    def _open(self, encoded: EncodedImage, search: Search) -> SearchState:
        errors = np.full((len(self.candidates), search.num_draws), np.nan, np.float32)
        scores = errors if self.aggregation == "mean" else errors.copy()
        logits = encoded.logits
        if logits is not None:
            # Several candidates of one class share its logit.
            logits = logits[self.candidates.class_indices[: self.num_choices]]
        return SearchState(encoded, errors, scores, search.requests(SearchInput(self.num_choices, logits)))

    @torch.no_grad()
    def _evaluate(self, states: Sequence[SearchState], advance: Callable[[int], object]) -> None:
        requests = [state.request for state in states if state.request is not None]
        counts = np.array([len(draws) for _, draws in requests])
        rows = [
            np.concatenate([self.candidates.rows[candidate] for candidate in candidates]) for candidates, _ in requests
        ]
        draw = np.concatenate([draws for _, draws in requests])
        jobs = EvaluationBatch(
            image=np.repeat(np.arange(len(states)), counts),
            draw=draw,
            pair=np.repeat(np.arange(len(draw)), np.repeat([len(r) for r in rows], counts)),
            row=np.concatenate([np.tile(r, n) for r, n in zip(rows, counts, strict=True)]),
        )
        latents = torch.stack([state.image.latent for state in states])
        ids = np.array([state.image.image_id for state in states], np.int64)
        found = self.evaluator(latents, ids, jobs, advance)
        start = 0
        for state, (candidates, draws), own_rows in zip(states, requests, rows, strict=True):
            stop = start + len(own_rows) * len(draws)
            errors = self._average_texts(found[start:stop].reshape(len(draws), len(own_rows)).T, candidates)
            weights = self.weights[draws]
            state.receive(errors * weights, draw_scores(errors, self.aggregation) * weights)
            start = stop

    def _average_texts(self, errors: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Average errors ``(texts, draws)`` over the texts of each candidate."""
        sizes = self.candidates.sizes[candidates]
        if len(errors) == len(candidates):
            return errors
        first = np.cumsum(sizes) - sizes
        means: np.ndarray = np.add.reduceat(errors, first, axis=0) / sizes[:, None].astype(np.float32)
        return means


def fit_budget(search: Search, candidates: Candidates) -> Search:
    """Convert the budget of a search from evaluations of the network to draws of candidates.

    A draw is assumed to cost as much as for the candidate with the most texts.

    Raises:
        ValueError: If the budget is too small to evaluate every candidate once.
        TypeError: If candidates have several texts and a search with a budget is not a dataclass.
    """
    cost = int(candidates.sizes.max())
    try:
        converted = search if cost == 1 else divide_budget(search, cost)
        converted.budget(int((candidates.class_indices >= 0).sum()))
    except ValueError as error:
        if cost == 1:
            raise
        raise ValueError(f"in draws of {cost} evaluations each, one per prompt, {error}") from error
    return converted


def _cost(state: SearchState, sizes: np.ndarray) -> int:
    """Number of evaluations in the pending request."""
    assert state.request is not None
    candidates, draws = state.request
    return int(sizes[candidates].sum()) * len(draws)


def _in_full_batches(states: Sequence[SearchState], costs: Sequence[int], batch_size: int) -> list[SearchState]:
    """Select the searches to evaluate in this round, so that batches are full.

    The newest searches that would only start another batch wait for the next round; together they are less than a
    batch, so none waits for long.
    """
    total = sum(costs)
    excess = total % batch_size
    if total == excess:
        return list(states)
    waits = set()
    for i in reversed(range(len(states))):
        if costs[i] <= excess:
            excess -= costs[i]
            waits.add(i)
    # A last batch that is almost full is better than one with only a few rows.
    others = [i for i in range(len(states)) if i not in waits and excess < costs[i] < batch_size]
    if excess and others:
        waits.add(min(others, key=lambda i: (costs[i], -i)))
    return [state for i, state in enumerate(states) if i not in waits]
