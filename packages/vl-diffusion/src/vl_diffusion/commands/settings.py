"""What all commands let one choose: the model, the classes, the error and the search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from vl_diffusion.classification.candidates import Combination
from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.templates import prompt_templates
from vl_diffusion.models.loading import load_denoiser
from vl_diffusion.models.schedule import Prediction
from vl_diffusion.runs.processes import own_device
from vl_diffusion.scoring.aggregation import Aggregation
from vl_diffusion.scoring.losses import Objective
from vl_diffusion.scoring.weighting import WeightingName
from vl_diffusion.search import Exhaustive, Grid, Halving, LabelTree, Racing, Search, Staged
from vl_diffusion.search.evidence import Bound

SearchName = Literal["racing", "staged", "halving", "exhaustive", "tree"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """The settings of a classifier, as the commands offer them."""

    model: str = "fashion"
    """"fashion" (built in), the folder of a diffusers pipeline or network, or a hub id."""

    classes: tuple[str, ...] | None = None
    """Class names; default: the model's own, else those of the images' data set."""

    image_size: int | None = None
    """For text-conditional models: height and width of the images, in pixels; default: those of the training."""

    search: SearchName = "racing"
    """Drop classes when paired differences prove them worse, give up the worst in stages, halve them, try all, or
    descend a tree of labels."""

    draws: tuple[int, ...] | None = None
    """Draws a class has seen at the end of each stage (staged; 8 24 72), or the most draws that a class sees (250)."""

    keep: tuple[int, ...] = (4, 2, 1)
    """Staged: classes that survive each stage."""

    grid: Grid = "nested"
    """Staged: how draws are placed in time, nested in one another or by the paper's literal grids."""

    level: float = Racing.level
    """Racing: the largest probability with which the best class may be dropped."""

    bound: Bound = "t"
    """Racing: judge differences as normal, or by empirical Bernstein."""

    tree: Path | None = None
    """Tree: a JSON file of nested objects, whose innermost values are lists of class names."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations of an image."""

    objective: Objective = "l2"
    """Squared, absolute or Huber error, or the variational bound's term for models that learn a variance."""

    error_space: Prediction = "epsilon"
    """Whose error is measured: the noise's, a velocity's, or the clean image's."""

    weighting: WeightingName = "uniform"
    """How much each noise level counts."""

    aggregation: Aggregation = "mean"
    """What is averaged over draws: errors, votes, or standardized errors."""

    time_range: tuple[float, float] = (0.0, 1.0)
    """The part of the schedule that draws are spread over."""

    prompt_template: tuple[str, ...] = ("a photo of a {}.",)
    """For text-conditional models: one prompt or several, with {} for the class name."""

    templates: str | None = None
    """For text-conditional models: a named set of prompts instead, such as imagenet, pets or food."""

    prompt_combination: Combination = "mean"
    """What several prompts of a class say together."""

    temperature: float = 1.0
    """Divides the summed error before the softmax; `calibrate` fits it."""

    seed: int = 0
    """Seed of the noise."""

    batch_size: int = 64
    """Evaluations in one call of the network; results do not depend on it."""

    precision: Precision = "float32"
    """Of the network; the schedule and the errors are float32."""

    compile: bool = False
    """Compile the network: minutes at the start, faster afterwards."""

    device: str = "auto"
    """"cpu", "cuda", ..., or "auto": a GPU if there is one."""


# A result does not depend on these, but for the last bits: rounding of sums that are added up in another order. So a
# command may go on with another batch size, compiled, or on another machine.
WITHOUT_EFFECT = ("batch_size", "compile", "device")


def build_classifier(settings: ClassifierSettings, known: Sequence[str] = ()) -> DiffusionClassifier:
    """Load the model and build its classifier.

    Args:
        settings: What was asked for.
        known: Class names to fall back on, where neither the settings nor the model name any.

    Raises:
        ValueError: If a setting is out of range, or the model is damaged or of an unsupported kind.
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
    """Raise the search's own error now, before a model is loaded for minutes."""
    if settings.search != "tree":
        search = make_search(settings, ())
        if settings.classes is not None:
            search.budget(len(settings.classes))


def make_search(settings: ClassifierSettings, classes: Sequence[str] | None) -> Search:
    """The search that was asked for, over these classes.

    Raises:
        ValueError: If one of its settings is out of range, or a tree does not fit the classes.
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
    """A tree of labels from a JSON file.

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


def find_device(name: str) -> str:
    """What "auto" stands for, or the name itself once a number has been there and back."""
    if name == "auto":
        return own_device()
    try:
        torch.zeros(1, device=name).item()
    # torch says in many ways that a device is unknown, absent, or without memory ("meta").
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise ValueError(
            f"--device must be auto or a device of this machine, such as cpu, got {name!r} ({reason})"
        ) from error
    return name
