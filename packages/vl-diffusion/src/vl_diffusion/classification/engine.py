"""Runs many images' searches side by side, so that the network sees full batches however little one search asks for.

Images are taken in while the open searches ask for less than a few batches, and leave when their search ends: a race
that is down to two classes shares its batches with dozens of others, and an expensive image has them to itself.
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

# Searches are opened until they ask for this many batches: the last batch of a round, which may not be full, is then a
# small part of it.
_BATCHES_A_ROUND = 4


class Evaluator(Protocol):
    """What answers with errors: :class:`~vl_diffusion.scoring.evaluator.ErrorEvaluator`, or something that remembers them."""

    @property
    def batch_size(self) -> int:
        """Evaluations in one call of the network."""
        ...

    def __call__(
        self, latents: Tensor, image_ids: np.ndarray, batch: EvaluationBatch, advance: Callable[[int], object] = ...
    ) -> np.ndarray:
        """The error of each evaluation, float32 ``(J,)``."""
        ...


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image on its way into a search.

    Attributes:
        index: Its place among the images that were given.
        image_id: The id that its noise belongs to.
        latent: ``(c, h, w)``, the clean image.
        logits: ``(K,)``, what another model says of the classes; None without one.
    """

    index: int
    image_id: int
    latent: Tensor
    logits: np.ndarray | None = None


@dataclass(eq=False)
class SearchState:
    """One image's search: what it wants next, what it has seen, and in the end what it found.

    Attributes:
        encoded: The image.
        errors: float32 ``(A, M)``, weighted; NaN where an arm was not evaluated on a draw.
        scores: float32 ``(A, M)``, what the search compared; `errors` itself unless they are aggregated otherwise.
        prediction: Index of the arm found, which may be a `SearchResult`; -1 while the search is open.
    """

    encoded: EncodedImage
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
        """The arm found or, while the search is open, the one of the smallest mean among those seen most often."""
        if self.prediction >= 0:
            return self.prediction
        count = (~np.isnan(self.scores)).sum(1)
        mean = np.where(count == count.max(), np.nansum(self.scores, 1), np.inf)
        return int(mean.argmin())

    @property
    def given_up(self) -> np.ndarray:
        """Candidates that the search has given up, bool ``(A,)``: those seen less often than the leader or named as such."""
        count = (~np.isnan(self.scores)).sum(1)
        given_up: np.ndarray = count < count[self.leader]
        if isinstance(self.prediction, SearchResult):
            given_up |= ~np.isin(np.arange(len(given_up)), self.prediction.remaining)
        return given_up

    def receive(self, errors: np.ndarray, scores: np.ndarray) -> None:
        """Record what was asked for, both ``(arms, draws)``, and let the search go on."""
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
    """Denoising errors prepared for a search over arms.

    Attributes:
        evaluator: The model and what its error is.
        candidates: What is searched over.
        num_choices: How many of the arms the search chooses from; the others are names that it descends through.
        weights: float32 ``(M,)``, how much each draw counts.
        aggregation: How a draw's errors become scores.
    """

    evaluator: Evaluator
    candidates: Candidates
    num_choices: int
    weights: np.ndarray
    aggregation: Aggregation = "mean"

    def run(
        self, encoded_images: Iterator[EncodedImage], search: Search, advance: Callable[[int], object] = lambda n: None
    ) -> Iterator[SearchState]:
        """Search all of these images.

        Args:
            encoded_images: The images, read one after the other as there is room.
            search: How to spend the evaluations.
            advance: Called with the number of evaluations done, after each batch.

        Yields:
            Finished searches, in the order in which they end.

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
        """Search one image and yield its trial after every answer, the last time with its prediction."""
        state = self._open(encoded, fit_budget(search, self.candidates))
        while state.request is not None:
            self._evaluate([state], lambda n: None)
            yield state

    def _open(self, encoded: EncodedImage, search: Search) -> SearchState:
        errors = np.full((len(self.candidates), search.num_draws), np.nan, np.float32)
        scores = errors if self.aggregation == "mean" else errors.copy()
        logits = encoded.logits
        if logits is not None:
            # Where several arms belong to a class, each has what was said of the class.
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
        latents = torch.stack([state.encoded.latent for state in states])
        ids = np.array([state.encoded.image_id for state in states], np.int64)
        found = self.evaluator(latents, ids, jobs, advance)
        start = 0
        for state, (candidates, draws), of_trial in zip(states, requests, rows, strict=True):
            stop = start + len(of_trial) * len(draws)
            errors = self._of_arms(found[start:stop].reshape(len(draws), len(of_trial)).T, candidates)
            weights = self.weights[draws]
            state.receive(errors * weights, draw_scores(errors, self.aggregation) * weights)
            start = stop

    def _of_arms(self, errors: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Errors ``(texts, draws)`` averaged over the texts of each arm."""
        sizes = self.candidates.sizes[candidates]
        if len(errors) == len(candidates):
            return errors
        first = np.cumsum(sizes) - sizes
        means: np.ndarray = np.add.reduceat(errors, first, axis=0) / sizes[:, None].astype(np.float32)
        return means


def fit_budget(search: Search, candidates: Candidates) -> Search:
    """The search with its budget in draws of arms, as it counts, instead of calls of the network.

    A draw is taken to cost what it does for the arm of most texts.

    Raises:
        ValueError: If the budget is less than it needs to see every arm once.
        TypeError: If a search with a budget is no dataclass, where arms have several texts.
    """
    cost = int(candidates.sizes.max())
    try:
        counted = search if cost == 1 else divide_budget(search, cost)
        counted.budget(int((candidates.class_indices >= 0).sum()))
    except ValueError as error:
        if cost == 1:
            raise
        raise ValueError(f"counted in draws of {cost} evaluations each, one a prompt, {error}") from error
    return counted


def _cost(state: SearchState, sizes: np.ndarray) -> int:
    """How many evaluations a search waits for."""
    assert state.request is not None
    candidates, draws = state.request
    return int(sizes[candidates].sum()) * len(draws)


def _in_full_batches(states: Sequence[SearchState], costs: Sequence[int], batch_size: int) -> list[SearchState]:
    """Those that go into this round: all but a few, the youngest first, that would only begin another batch.

    They wait for the next round. What waits is less than a batch, so nothing waits long.
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
    # A last batch with some rows missing is better than one with a few rows in it.
    others = [i for i in range(len(states)) if i not in waits and excess < costs[i] < batch_size]
    if excess and others:
        waits.add(min(others, key=lambda i: (costs[i], -i)))
    return [state for i, state in enumerate(states) if i not in waits]
