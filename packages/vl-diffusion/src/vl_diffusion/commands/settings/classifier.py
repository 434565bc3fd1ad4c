"""The settings of a classifier, shared by the commands that classify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from vl_core.cli import Count, DeviceName, Groups, Metavar, Range, Seed, check_values
from vl_core.files import read_json

from vl_diffusion.checks import checked_classes
from vl_diffusion.classification.candidates import Combination, checked_templates
from vl_diffusion.classification.templates import prompt_templates
from vl_diffusion.commands.settings.class_names import class_names
from vl_diffusion.commands.settings.model import ModelSettings
from vl_diffusion.models.schedule import Prediction, check_time_range
from vl_diffusion.scoring.aggregation import Aggregation
from vl_diffusion.scoring.objectives import NoiseSharing, Objective
from vl_diffusion.scoring.weighting import WeightingName
from vl_diffusion.search import Exhaustive, Grid, Halving, LabelTree, Racing, Search, Staged
from vl_diffusion.search.evidence import Bound

PromptTemplate = Annotated[str, Metavar("PROMPT")]
SearchName = Literal["racing", "staged", "halving", "exhaustive", "tree"]
TimeInSchedule = Annotated[float, Range(0, 1)]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings(ModelSettings):
    """Settings of a classifier on the command line."""

    classes: tuple[str, ...] | None = None
    """Class names, or @FILE for a file with one per line; default: the model's own, or else those of the data set."""

    strict: bool = False
    """Refuse images that cannot be read before computing anything, instead of leaving them out; the exit status is 1
    if some are left out."""

    search: SearchName = "racing"
    """Search strategy: eliminate classes by paired tests (racing), in stages, or by halving; evaluate all draws
    (exhaustive); or descend a label tree."""

    draws: tuple[Count, ...] | None = None
    """Staged: cumulative draws per class at the end of each stage (default: 8 24 72). Others: maximum draws per class
    (default: 250)."""

    trials: Count = 1
    """Staged and exhaustive: noises per draw, all at its time step."""

    keep: tuple[Count, ...] = (4, 2, 1)
    """Staged: number of classes kept after each stage."""

    grid: Grid = "nested"
    """Staged and exhaustive: evenly spaced draws, nested between stages; or the paper's literal grids."""

    level: Annotated[float, Range(above=0, below=1)] = Racing.level
    """Racing: largest probability that the best class is eliminated."""

    bound: Bound = "t"
    """Racing: test for normal differences (t), or empirical Bernstein."""

    tree: Path | None = None
    """Tree: a JSON file of nested objects whose innermost values are lists of class names."""

    max_evaluations: Count | None = None
    """Hard limit on the evaluations per image."""

    objective: Objective = "l2"
    """Squared, absolute or Huber error; or, for models with a learned variance, the term of the variational bound, or
    its sum with the squared error."""

    error_space: Prediction = "epsilon"
    """Quantity whose error is measured: the noise, a velocity, or the clean image."""

    weighting: WeightingName = "uniform"
    """Weights of the noise levels."""

    aggregation: Aggregation = "mean"
    """Quantity averaged over draws: errors, votes, or z-scores."""

    time_range: tuple[TimeInSchedule, TimeInSchedule] = (0.0, 1.0)
    """Part of the schedule that the draws cover, from 0 (no noise) to 1."""

    prompt_template: tuple[PromptTemplate, ...] = ("a photo of a {}.",)
    """For text-conditional models: one or several prompts with {} for the class name."""

    templates: str | None = None
    """For text-conditional models: a named set of prompts instead, such as imagenet, pets or food."""

    prompt_combination: Combination = "mean"
    """Combination of several prompts of a class."""

    temperature: Annotated[float, Range(above=0)] = 1.0
    """Divides the summed error before the softmax; `calibrate` fits it."""

    seed: Seed = 0
    """Seed of the noise."""

    noise: NoiseSharing = "independent"
    """Noise of each draw, or one noise for all time steps of an image, or the same draws for all images, as in
    published runs."""

    batch_size: Count = 64
    """Evaluations per call of the network; results do not depend on it."""

    precision: Precision = "float32"
    """Precision of the network; the schedule and the errors are float32."""

    compile: bool = False
    """Compile the network, which takes minutes at the start."""

    device: DeviceName = "auto"
    """"cpu", "cuda", ..., or "auto" for a GPU if available."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("classes", "strict"),
        "Model": (
            "model",
            "variant",
            "model_config",
            "timestep_embedding",
            "image_size",
            "prompt_template",
            "templates",
            "prompt_combination",
        ),
        "Search": ("search", "draws", "trials", "keep", "grid", "level", "bound", "tree", "max_evaluations"),
        "Score": ("objective", "error_space", "weighting", "aggregation", "time_range", "temperature"),
        "Runtime": ("seed", "noise", "batch_size", "precision", "compile", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"spec": "images", "name": "templates", "config": "model_config"}

    def check(self) -> None:
        """Check what needs neither the model nor the images.

        Raises:
            ValueError: If a setting is out of range, or the model or the tree cannot be what it is said to be.
            OSError: If a file is missing.
        """
        check_values(self)
        self.check_model()
        check_time_range(self.time_range)
        self.prompts()
        named = class_names(self.classes)
        classes = None if named is None else checked_classes(named)
        if self.tree is not None and not self.tree.is_file():
            raise FileNotFoundError(f"--tree must be a file, got {self.tree}; check the path")
        if self.search == "tree":
            read_tree(self.given_tree())
        else:
            search = make_search(self, ())
            if self.noise == "timesteps" and isinstance(search, Racing):
                raise ValueError("--noise timesteps needs --search staged, exhaustive or halving, got racing")
            if classes is not None:
                search.budget(len(classes))

    def prompts(self) -> tuple[str, ...]:
        """The prompt templates.

        Raises:
            ValueError: If there is no such set of templates, or one has no ``{}``.
        """
        return checked_templates(self.prompt_template if self.templates is None else prompt_templates(self.templates))

    def given_tree(self) -> Path:
        """The file of the label tree.

        Raises:
            ValueError: If there is none.
        """
        if self.tree is None:
            raise ValueError("--search tree needs --tree FILE, a JSON file of nested objects and lists of class names")
        return self.tree


# Results depend on these only through rounding, so a command may be resumed with another batch size, compiled, or on
# another machine.
WITHOUT_EFFECT = ("batch_size", "compile", "device")


def make_search(settings: ClassifierSettings, classes: Sequence[str] | None) -> Search:
    """Build the search over these classes.

    Raises:
        ValueError: If a setting is out of range, or a tree does not match the classes.
    """
    limit = settings.max_evaluations
    if settings.search == "staged":
        draws = (8, 24, 72) if settings.draws is None else settings.draws
        return Staged(draws, settings.keep, settings.grid, max_evaluations=limit, trials=settings.trials)
    most = _most_draws(settings)
    if settings.search == "exhaustive":
        return Exhaustive(most, max_evaluations=limit, grid=settings.grid, trials=settings.trials)
    if settings.trials != 1:
        raise ValueError(
            f"--trials is for --search staged and exhaustive, got {settings.trials} with {settings.search}"
        )
    if settings.search == "halving":
        return Halving(most, min(Halving.first, most), max_evaluations=limit)
    racing = Racing(most, level=settings.level, bound=settings.bound, max_evaluations=limit)
    if settings.search == "racing":
        return racing
    tree, names = read_tree(settings.given_tree()), tuple(classes or ())
    return LabelTree(tree, names, racing, draws=min(LabelTree.draws, most), max_evaluations=limit)


def read_tree(path: Path) -> Any:
    """Read a label tree from a JSON file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not JSON.
    """
    return read_json(path)


def _most_draws(settings: ClassifierSettings) -> int:
    if settings.draws is None:
        return 250
    if len(settings.draws) != 1:
        raise ValueError(f"--draws takes one number with --search {settings.search}, got {list(settings.draws)}")
    return settings.draws[0]
