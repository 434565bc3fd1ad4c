"""Distributions of a pixel's channels, given features of its context."""

from __future__ import annotations

from typing import Any

from vl_density.heads._head import Head as Head
from vl_density.heads._head import levels_beside as levels_beside
from vl_density.heads.categorical import Bernoulli as Bernoulli
from vl_density.heads.categorical import Categorical as Categorical
from vl_density.heads.logistic_mixture import LogisticMixture as LogisticMixture

HEADS: dict[str, type[Head]] = {
    "categorical": Categorical,
    "logistic-mixture": LogisticMixture,
    "bernoulli": Bernoulli,
}
"""The heads by name."""


def make_head(name: str, channels: int, levels: int, **options: Any) -> Head:
    """Make a head by its name.

    Raises:
        ValueError: If there is no such head, or it cannot have such channels and levels.
    """
    if name not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, got {name!r}")
    return HEADS[name](channels, levels, **options)
