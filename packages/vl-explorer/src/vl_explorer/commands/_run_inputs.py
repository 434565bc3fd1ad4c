"""Inputs of `vl-explorer run`: target, engine, vocabulary, and a sample of the web."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from vl_core.data import ImageDataset, open_dataset

from vl_explorer.commands.settings.run import LOCAL, Run
from vl_explorer.embeddings.glove import GloveNouns
from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.search.engine import SearchEngine
from vl_explorer.search.http.budget import Budget
from vl_explorer.search.registry import build_engine
from vl_explorer.vocabulary.blocklist import is_vulgar
from vl_explorer.vocabulary.concepts import Vocabulary
from vl_explorer.vocabulary.labels import nearest_to_labels
from vl_explorer.worlds.opening import open_world
from vl_explorer.worlds.world import World

_SAMPLE = 500


@dataclass(frozen=True)
class Inputs:
    """Everything that is explored, opened."""

    target: list[Image.Image]
    """Images of the task."""
    target_name: str
    """Name of the data set that they are from."""
    engine: SearchEngine
    """Engine that is asked."""
    vocabulary: Vocabulary
    """Concepts that may be searched for, each with a word that is known."""
    names: tuple[str, ...]
    """Names of the task; empty for images of one's own without labels."""
    sample: list[Image.Image]
    """Images of the web, or of the built-in one where nothing of the web is known before it is asked."""
    sampled_from: str
    """Name of what the sample is from."""
    evaluate: Callable[[ImageEncoder], float] | None
    """Accuracy of k-NN on held-out images of the task, where there are labels."""
    relevant: frozenset[str]
    """Addresses of the images of the web that show the task, to count them alone; empty where nobody knows them."""
    chance: float
    """Share of these in the whole web."""
    description: str
    """All of it in one line."""


def open_inputs(settings: Run) -> Inputs:
    """Open everything that the settings name.

    Raises:
        OSError: If a file is missing.
        SearchError: If an engine lacks its key.
        ValueError: If a data set or a vocabulary cannot be used, or an image of the task cannot be read.
    """
    world = None
    if settings.world_name is not None:
        world = open_world(settings.world_name, target=settings.target_name)
    target = _own_images(settings.images) if settings.images is not None or world is None else world.target
    engine = _engine(settings, world)
    vocabulary = _vocabulary(settings, None if settings.engine is not None else world)
    sample, sampled_from = _sample(engine, world, settings.seed)
    own = world is not None and settings.images is None
    relevant = world.relevant if world is not None and own and settings.engine is None else frozenset[str]()
    described = f"{target.name}: {len(target):,} target images; {len(vocabulary):,} concepts; {engine.name}"
    return Inputs(
        target=[target[place][0] for place in range(len(target))],
        target_name=target.name,
        engine=engine,
        vocabulary=vocabulary,
        names=settings.label_names or ((world.task,) if world is not None and own else ()),
        sample=sample,
        sampled_from=sampled_from,
        evaluate=world.held_out.accuracy if world is not None and own else None,
        relevant=relevant,
        chance=len(relevant) / len(world.web) if world is not None else 0.0,
        description=world.describe() if world is not None and relevant else described,
    )


def _own_images(spec: str | None) -> ImageDataset:
    if spec is None:
        raise ValueError("--images must be given with --engine where no --world is, got none")
    return open_dataset(spec, default_split="train")


def _engine(settings: Run, world: World | None) -> SearchEngine:
    if settings.engine is None:
        assert world is not None
        return world.engine
    if settings.engine in (LOCAL, "url-list"):
        assert settings.source is not None
        return build_engine(settings.engine, settings.source)
    arguments = [settings.source] if settings.source is not None else []
    budget = Budget(settings.max_requests, settings.max_cost)
    return build_engine(settings.engine, *arguments, contact=settings.contact, budget=budget)


def _vocabulary(settings: Run, world: World | None) -> Vocabulary:
    """The concepts with a known word, by themselves or near to the labels."""
    embed = GloveNouns()
    if settings.vocabulary == "wordnet":
        found = Vocabulary.wordnet()
    elif settings.vocabulary != "glove":
        found = Vocabulary.read(Path(settings.vocabulary).expanduser())
    elif world is not None:
        found = world.vocabulary
    else:
        found = Vocabulary.of([word for word in embed.words if word.isalpha()]).without(is_vulgar)
    embeddings = embed([concept.name for concept in found])
    kept = np.flatnonzero(embeddings.any(axis=1))
    if not len(kept):
        raise ValueError(f"--vocabulary must have a concept with a known word, got none in {settings.vocabulary}")
    if settings.labels:
        labels = embed(settings.label_names)
        known = labels.any(axis=1)
        if not known.any():
            raise ValueError(f"--labels must have a known word, got {', '.join(settings.label_names)[:200]}")
        if settings.concept_model == "nearest" and not known.all():
            unknown = ", ".join(settings.label_names[place] for place in np.flatnonzero(~known))
            raise ValueError(
                f"--labels must be known words with --concept-model nearest, got {unknown[:200]}; leave them out"
            )
        kept = kept[nearest_to_labels(embeddings[kept], labels[known])]
    return found if len(kept) == len(found) else Vocabulary(found[int(place)] for place in kept)


def _sample(engine: SearchEngine, world: World | None, seed: int) -> tuple[list[Image.Image], str]:
    """Images of the web at random, and their origin."""
    web = engine.images if isinstance(engine, CaptionEngine) else None
    name = engine.name
    if web is None:
        web = world.web if world is not None else open_world("builtin").web
        name = "the web that ships, since nothing of the other was asked for yet"
    places = np.random.default_rng(seed).permutation(len(web))[:_SAMPLE]
    found = []
    for place in places.tolist():
        try:
            found.append(web[place][0])
        except (OSError, ValueError):  # damaged, as some of a web are
            continue
    return found, name
