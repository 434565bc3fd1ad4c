"""Settings shared by the commands: the model, the classes, the error and the search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from vl_core.devices import find_device

from vl_diffusion.classification.candidates import Combination
from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.templates import prompt_templates
from vl_diffusion.models.loading import load_denoiser
from vl_diffusion.models.schedule import Prediction
from vl_diffusion.scoring.aggregation import Aggregation
from vl_diffusion.scoring.losses import Objective
from vl_diffusion.scoring.weighting import WeightingName
from vl_diffusion.search import Exhaustive, Grid, Halving, LabelTree, Racing, Search, Staged
from vl_diffusion.search.evidence import Bound

SearchName = Literal["racing", "staged", "halving", "exhaustive", "tree"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Settings of a classifier on the command line."""

    model: str = "fashion"
    """"fashion" (built in), the folder of a diffusers pipeline or network, or a hub id."""

    classes: tuple[str, ...] | None = None
    """Class names; default: the model's own, or else those of the data set."""

    image_size: int | None = None
    """For text-conditional models: height and width of the images in pixels; default: the training resolution."""

    search: SearchName = "racing"
    """Search strategy: eliminate classes by paired tests (racing), in stages, or by halving; evaluate all draws
    (exhaustive); or descend a label tree."""

    draws: tuple[int, ...] | None = None
    """Staged: cumulative draws per class at the end of each stage (default: 8 24 72). Others: maximum draws per class
    (default: 250)."""

    keep: tuple[int, ...] = (4, 2, 1)
    """Staged: number of classes kept after each stage."""

    grid: Grid = "nested"
    """Staged: nested grids of draws, or the paper's literal grids."""

    level: float = Racing.level
    """Racing: largest probability that the best class is eliminated."""

    bound: Bound = "t"
    """Racing: test for normal differences (t), or empirical Bernstein."""

    tree: Path | None = None
    """Tree: a JSON file of nested objects whose innermost values are lists of class names."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations per image."""

    objective: Objective = "l2"
    """Squared, absolute or Huber error, or the term of the variational bound for models with a learned variance."""

    error_space: Prediction = "epsilon"
    """Quantity whose error is measured: the noise, a velocity, or the clean image."""

    weighting: WeightingName = "uniform"
    """Weights of the noise levels."""

    aggregation: Aggregation = "mean"
    """Quantity averaged over draws: errors, votes, or z-scores."""

    time_range: tuple[float, float] = (0.0, 1.0)
    """Part of the schedule that the draws cover, from 0 (no noise) to 1."""

    prompt_template: tuple[str, ...] = ("a photo of a {}.",)
    """For text-conditional models: one or several prompts with {} for the class name."""

    templates: str | None = None
    """For text-conditional models: a named set of prompts instead, such as imagenet, pets or food."""

    prompt_combination: Combination = "mean"
    """Combination of several prompts of a class."""

    temperature: float = 1.0
    """Divides the summed error before the softmax; `calibrate` fits it."""

    seed: int = 0
    """Seed of the noise."""

    batch_size: int = 64
    """Evaluations per call of the network; results do not depend on it."""

    precision: Precision = "float32"
    """Precision of the network; the schedule and the errors are float32."""

    compile: bool = False
    """Compile the network, which takes minutes at the start."""

    device: str = "auto"
    """"cpu", "cuda", ..., or "auto" for a GPU if available."""


# Results depend on these only through rounding, so a command may be resumed with another batch size, compiled, or on
# another machine.
WITHOUT_EFFECT = ("batch_size", "compile", "device")


def build_classifier(settings: ClassifierSettings, known: Sequence[str] = ()) -> DiffusionClassifier:
    """Load the model and build its classifier.

    Args:
        settings: The settings.
        known: Class names to use if neither the settings nor the model have any.

    Raises:
        ValueError: If a setting is out of range, or the model is damaged or not supported.
        OSError: If the model is missing.
    """
    device = find_device(settings.device)
    check_search(settings)
    denoiser = load_denoiser(
        settings.model, torch_dtype=getattr(torch, settings.precision), image_size=settings.image_size
    )
    classes = settings.classes
    if classes is None and denoiser.class_names is None:
        classes = tuple(known) or None
    named: Any = denoiser.class_names if classes is None else classes
    templates = settings.prompt_template if settings.templates is None else prompt_templates(settings.templates)
    return DiffusionClassifier(
        denoiser,
        classes,
        search=make_search(settings, named),
        objective=settings.objective,
        error_space=settings.error_space,
        weighting=settings.weighting,
        aggregation=settings.aggregation,
        time_range=settings.time_range,
        temperature=settings.temperature,
        prompt_template=templates,
        prompt_combination=settings.prompt_combination,
        seed=settings.seed,
        batch_size=settings.batch_size,
        compile=settings.compile,
        device=device,
    )


def check_search(settings: ClassifierSettings) -> None:
    """Check the settings of the search before loading the model, which may take minutes."""
    if settings.search != "tree":
        search = make_search(settings, ())
        if settings.classes is not None:
            search.budget(len(settings.classes))


def make_search(settings: ClassifierSettings, classes: Sequence[str] | None) -> Search:
    """Build the search over these classes.

    Raises:
        ValueError: If a setting is out of range, or a tree does not match the classes.
    """
    limit = settings.max_evaluations
    if settings.search == "staged":
        draws = (8, 24, 72) if settings.draws is None else settings.draws
        return Staged(draws, settings.keep, settings.grid, max_evaluations=limit)
    most = _most_draws(settings)
    if settings.search == "exhaustive":
        return Exhaustive(most, max_evaluations=limit)
    if settings.search == "halving":
        return Halving(most, min(Halving.first, most), max_evaluations=limit)
    racing = Racing(most, level=settings.level, bound=settings.bound, max_evaluations=limit)
    if settings.search == "racing":
        return racing
    if settings.tree is None:
        raise ValueError("--search tree needs --tree FILE, a JSON file of nested objects and lists of class names")
    tree, names = read_tree(settings.tree), tuple(classes or ())
    return LabelTree(tree, names, racing, draws=min(LabelTree.draws, most), max_evaluations=limit)


def read_tree(path: Path) -> Any:
    """Read a label tree from a JSON file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def _most_draws(settings: ClassifierSettings) -> int:
    if settings.draws is None:
        return 250
    if len(settings.draws) != 1:
        raise ValueError(f"--draws takes one number with --search {settings.search}, got {list(settings.draws)}")
    return settings.draws[0]
