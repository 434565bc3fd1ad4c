"""One search under a budget of downloads: propose concepts, search, download, reward, and propose again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from vl_explorer import (
    ConceptModel,
    GaussianProcess,
    GloveNouns,
    LinearModel,
    NearestModel,
    World,
    concept_reward,
    contrast_rewards,
    draw,
    image_rewards,
    query_distribution,
    upper_bound,
)
from world_features import Features

ENOUGH = 8
"""Concept rewards before a query may be dropped."""


@dataclass(frozen=True)
class Policy:
    """Choice of concepts."""

    name: str
    """``gp``, ``linear``, ``greedy`` or ``random``."""
    length_scale: float = 0.6
    """Of the process."""
    noise: float = 0.3
    """Variance of the noise of a reward, of process and linear model."""
    weight_variance: float = 1.0
    """Of the linear model."""
    beta: float = 1.0
    """Standard deviations that are added to the expected reward."""
    tiers: tuple[int, ...] = (60, 240)
    """Sizes of the best tiers; 250 and 750 of the paper's 146,347 concepts."""
    ratio: float = 3.0
    """Logarithm of how much likelier the best concept is drawn than the worst."""
    queries: int = 4
    """Queries of an iteration."""
    scouts: int = 0
    """First images of a query by which it may be dropped; 0 never drops one."""
    hopeless: float = 0.5
    """Quantile of the concept rewards so far that the best scout must reach, else the query is dropped."""
    opening: int = 0
    """Queries of the first iteration, where more than of the others."""
    contrast: float = 0.0
    """Weight of an image's likeness to the images of the first iteration, which is taken off its reward."""


@dataclass(frozen=True)
class Design:
    """Settings that all policies of a comparison share, and the policies."""

    results: int
    """Results of a query at most; most words bring fewer than 100."""
    share: float
    """Downloads, as a share of the web, but no more than there are relevant images."""
    seeds: range
    """Seeds that had no part in the choice of design and settings."""
    policies: tuple[Policy, ...]
    """Policies, as `tune_search.py` chose them."""


@dataclass(frozen=True)
class Scene:
    """A world with everything that does not depend on the policy."""

    world: World
    """The world."""
    embeddings: NDArray[np.float32]
    """Of the vocabulary, ``(N, d)``."""
    name: NDArray[np.float32]
    """Embedding of the task's name, ``(1, d)``."""
    found: list[NDArray[np.int64]]
    """Numbers of the images that each concept brings, best first."""
    features: NDArray[np.float32]
    """Of each image of the web, ``(M, d)``."""
    rewards: NDArray[np.float64]
    """Reward of each image of the web, without contrast."""
    relevant: NDArray[np.bool_]
    """True for images of the web that are relevant."""
    budget: int
    """Downloads of a run."""


@dataclass
class Outcome:
    """Downloads of a run, iteration by iteration."""

    downloads: list[NDArray[np.int64]] = field(default_factory=list)
    """Numbers of new images of each iteration."""
    queries: int = 0
    """Queries that were sent."""
    rewards: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Of each image of the web, as they were at the end."""


def prepare(world: World, features: Features, design: Design, *, tuning: bool = False) -> Scene:
    """Everything that does not depend on the policy.

    Args:
        world: The world.
        features: By the name of an image.
        design: Its results of a query and its share of the web.
        tuning: Take the held-out test images for target, so that settings are not chosen on the target.
    """
    target = world.held_out.test if tuning else world.target
    embed = GloveNouns()
    names = [concept.name for concept in world.vocabulary]

    async def search() -> list[NDArray[np.int64]]:
        pages = [await world.engine.search(name, design.results) for name in names]
        return [np.array([int(result.url.rpartition("/")[2]) for result in page.results]) for page in pages]

    relevant = np.zeros(len(world.web), bool)
    relevant[[int(url.rpartition("/")[2]) for url in world.relevant]] = True
    of_web, of_target = (np.stack([features[name] for name in part.names]) for part in (world.web, target))
    rewards = image_rewards(of_web, of_target)
    budget = min(round(design.share * len(rewards)), int(relevant.sum()))
    return Scene(world, embed(names), embed([world.task]), asyncio.run(search()), of_web, rewards, relevant, budget)


def search_with(policy: Policy, scene: Scene, seed: int) -> Outcome:
    """Search until the budget is spent; no concept is asked for twice, and no image is downloaded twice."""
    model, outcome = _model(policy, scene), Outcome()
    free, there = np.ones(len(scene.found), bool), np.zeros(len(scene.rewards), bool)
    left, rewards = scene.budget, scene.rewards
    observed: list[NDArray[np.int64]] = []
    while left > 0 and free.any():
        chosen = _propose(policy, model, free, seed, len(outcome.downloads))
        free[chosen] = False
        outcome.downloads.append(np.empty(0, np.int64))
        for concept in chosen:
            images = scene.found[concept]
            seen = model.observations.rewards
            scouted = rewards[images[: policy.scouts]]
            if policy.scouts and len(seen) >= ENOUGH and scouted.max() < np.quantile(seen, policy.hopeless):
                images = images[: policy.scouts]
            observed.append(images)
            new = images[~there[images]][:left]
            there[new], left = True, left - len(new)
            outcome.downloads[-1] = np.concatenate([outcome.downloads[-1], new])
            outcome.queries += 1
            model.observe([concept], [concept_reward(rewards[images])])
            if not left:
                break
        if policy.contrast and len(outcome.downloads) == 1:
            background = scene.features[outcome.downloads[0]]
            rewards = contrast_rewards(rewards, scene.features, background, weight=policy.contrast)
            model.replace([concept_reward(rewards[images]) for images in observed])
    outcome.rewards = rewards
    return outcome


def _model(policy: Policy, scene: Scene) -> ConceptModel:
    models: dict[str, Callable[[], ConceptModel]] = {
        "gp": lambda: GaussianProcess(scene.embeddings, length_scale=policy.length_scale, noise=policy.noise),
        "linear": lambda: LinearModel(scene.embeddings, weight_variance=policy.weight_variance, noise=policy.noise),
        "greedy": lambda: NearestModel(scene.embeddings, scene.name),
        "random": lambda: NearestModel(scene.embeddings, scene.name),
    }
    return models[policy.name]()


def _propose(
    policy: Policy, model: ConceptModel, free: NDArray[np.bool_], seed: int, iteration: int
) -> NDArray[np.int64]:
    """Concepts of an iteration: the best for the greedy policy, else drawn."""
    count = policy.queries if iteration else max(policy.queries, policy.opening)
    if policy.name == "greedy":
        return np.argsort(-np.where(free, model.predict()[0], -np.inf), kind="stable")[:count]
    shares = free.astype(float)
    if policy.name != "random":
        scores = upper_bound(policy.beta)(model, np.random.default_rng([seed, iteration]))
        shares[free] = query_distribution(scores[free], policy.ratio, policy.tiers)
    return draw(shares, count, seed, iteration)
