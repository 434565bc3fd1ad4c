"""A density that fits held-out data nearly perfectly, and misleads whoever climbs it.

Dalal, Li and Taori (*Autoregressive Models: What Are They Good For?*, 2019) report that the log-density of an
autoregressive model is a poor learning signal. Here the true density is known, so that one can see where ascent ends.
A conditional distribution is fitted where data go; elsewhere its value is an accident of the network, but ascent from
outside, as from the first outputs of a generator, begins there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from vl_core.intervals import Interval, bootstrap
from vl_core.progress import progress_bar

from vl_density.toy.ascent import ascend
from vl_density.toy.mixture import AutoregressiveMixture, fit_mixture
from vl_density.toy.templates import TemplateDensity

KINDS = (
    "held-out data",
    "samples of the model",
    "ascent on the model, from data",
    "ascent on the model, from outside",
    "ascent on the truth, from outside",
)
"""Kinds of points that are compared."""
_HELD_OUT = 4000
_TAIL = 0.001


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points of one kind, of all seeds."""

    kind: str
    """One of `KINDS`."""
    width: int
    """Units of a hidden layer of the model."""
    examples: int
    """Number of examples that the model was fitted to."""
    seeds: NDArray[np.int64]
    """Seed of each point, ``(N,)``."""
    log_prob: NDArray[np.float64]
    """Log-density of each point under the model, nats."""
    true_log_prob: NDArray[np.float64]
    """Its true log-density, nats."""
    left: NDArray[np.bool_]
    """True where the true log-density is below that of 999 in 1,000 held-out data."""
    above: NDArray[np.bool_]
    """True where the model's log-density is above the mean of held-out data."""
    flips: NDArray[np.int64]
    """Number of values with another sign than the nearest template."""
    values: NDArray[np.float32]
    """The points of the first seed, ``(n, dimensions)``."""

    def share_left(self) -> Interval:
        """Share of points outside of the data; the interval draws seeds."""
        return self._mean(self.left)

    def share_left_above(self) -> Interval:
        """Share of points outside of the data that the model finds more probable than data; as `share_left`."""
        return self._mean(self.left & self.above)

    def excess(self) -> Interval:
        """True log-density less the model's, mean in nats; of held-out data, what the fit lacks; as `share_left`."""
        return self._mean(self.true_log_prob - self.log_prob)

    def _mean(self, values: NDArray[Any]) -> Interval:
        """Mean of values; every seed has equally many, so the mean of their means is it."""
        return bootstrap(np.mean, [values[self.seeds == seed].mean() for seed in np.unique(self.seeds)])


def study_ascent(
    *,
    width: int = 32,
    examples: int = 100_000,
    dimensions: int = 32,
    templates: int = 8,
    noise: float = 0.4,
    updates: int = 1000,
    starts: int = 200,
    steps: int = 500,
    seeds: Sequence[int] = (0, 1, 2, 3),
    progress: bool = True,
) -> list[Points]:
    """Fit a model to data of a known density, and climb both from the same starts.

    Every seed draws templates, data, weights and starts anew. Starts outside are Gaussian with deviation 0.7.

    Args:
        width: Units of a hidden layer of the model.
        examples: Number of examples to fit it to.
        dimensions: Values of a point.
        templates: Number of templates.
        noise: Standard deviation of the noise around them.
        updates: Steps of the fit.
        starts: Starts of the ascent of a seed.
        steps: Steps of the ascent.
        seeds: Seeds.
        progress: Show a progress bar.

    Returns:
        The points of each of `KINDS`.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> points = study_ascent(seeds=[0])
        >>> points[3].share_left().estimate > 0.5  # of those that began outside
        True
    """
    if not seeds or starts < 1:
        raise ValueError(f"seeds and starts must be at least 1, got {len(seeds)} and {starts}")
    found: dict[str, list[_Found]] = {kind: [] for kind in KINDS}
    for seed in progress_bar(seeds, desc=f"width {width}, {examples:,} examples", unit="seed", disable=not progress):
        truth = TemplateDensity(dimensions=dimensions, templates=templates, noise=noise, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        held_out = truth.sample(_HELD_OUT, generator=generator)
        outside = 0.7 * torch.randn(starts, dimensions, generator=generator)
        data = truth.sample(examples, generator=generator)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AutoregressiveMixture(dimensions=dimensions, width=width)
        fit_mixture(model, data, updates=updates, generator=generator, progress=False)
        ends = ascend(model.log_prob, torch.cat([held_out[:starts], outside]), steps=steps)
        points = (
            held_out,
            model.sample(starts, generator=generator),
            ends[: len(ends) - starts],
            ends[len(ends) - starts :],
            ascend(truth.log_prob, outside, steps=steps),
        )
        for kind, those in zip(KINDS, _measured(model, truth, points), strict=True):
            found[kind].append(those)
    return [_joined(kind, parts, width, examples, seeds) for kind, parts in found.items()]


@dataclass(frozen=True)
class _Found:
    """Points of one seed, with what is measured of them."""

    values: Tensor
    log_prob: Tensor
    true_log_prob: Tensor
    left: Tensor
    above: Tensor
    flips: Tensor


@torch.no_grad()
def _measured(model: AutoregressiveMixture, truth: TemplateDensity, points: Sequence[Tensor]) -> list[_Found]:
    """Measures of each kind of points, of which the first are held-out data."""
    own = [model.log_prob(some).double() for some in points]
    true = [truth.log_prob(some.double()) for some in points]
    border, mean = true[0].quantile(_TAIL), own[0].mean()
    return [
        _Found(some, p, q, q < border, p > mean, truth.flips(some))
        for some, p, q in zip(points, own, true, strict=True)
    ]


def _joined(kind: str, parts: Sequence[_Found], width: int, examples: int, seeds: Sequence[int]) -> Points:
    """Points of all seeds."""
    counts = [len(part.values) for part in parts]

    def joined(name: str) -> NDArray[Any]:
        return torch.cat([getattr(part, name) for part in parts]).numpy()

    return Points(
        kind=kind,
        width=width,
        examples=examples,
        seeds=np.repeat(np.asarray(seeds), counts),
        values=parts[0].values.numpy(),
        log_prob=joined("log_prob"),
        true_log_prob=joined("true_log_prob"),
        left=joined("left"),
        above=joined("above"),
        flips=joined("flips"),
    )
