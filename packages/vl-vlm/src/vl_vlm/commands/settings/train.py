"""The settings of `vl-vlm train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias

from vl_core.cli import Count, Groups, Metavar, ModelName, Range, RunPath, Seed, check_values

from vl_vlm.captions.check import check_captions
from vl_vlm.models.folders import model_folder, read_configuration

SCENES = "scenes"
"""Name of the scenes that are drawn, where captioned images are asked for."""

CaptionSource: TypeAlias = Annotated[str, Metavar("CAPTIONS")]
"""Source that `open_captions` opens, or `SCENES`."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a dual encoder of images and captions; rerun to resume.

    By default: a small model of 8,000 procedural scenes, evaluated on others, in about three minutes.
    """

    captions: CaptionSource = SCENES
    """Images with captions: a folder, a captions file, Parquet files, WebDataset shards, a built-in data set, or
    "scenes", which are drawn."""

    split: str | None = None
    """Split to train on; default: train, if there are splits."""

    limit: Count | None = None
    """Maximum number of images; default: all, of scenes 8,000."""

    skip_broken: bool = False
    """Leave out images that cannot be read and samples without a caption, and say how many; default: stop there."""

    test_share: Annotated[float, Range(0, 0.5)] = 0.1
    """Share of the images that is kept from training and evaluated; scenes have others for that."""

    model: ModelName | None = None
    """A built-in model, or a folder that this command wrote, to begin with; default: a new one."""

    loss: Literal["info_nce", "sigmoid"] = "info_nce"
    """Loss of a new model."""

    image_size: Annotated[int, Range(8, 1024)] = 32
    """Height and width of the images of a new model, a multiple of 8."""

    width: Annotated[int, Range(32)] = 64
    """Width of the transformers of a new model, a multiple of 32."""

    depth: Count = 4
    """Blocks of the vision transformer of a new model; its text transformer has half as many."""

    dim: Count = 64
    """Size of the common space of a new model."""

    context_length: Annotated[int, Range(3)] = 32
    """Tokens of a text at most, for a new model."""

    vocabulary_size: Annotated[int, Range(260)] = 1024
    """Tokens of a new model at most; its tokenizer is trained on the captions."""

    recipe: Literal["small", "clip", "siglip", "lit"] = "small"
    """Optimizer and schedule: for small models, or those of CLIP, SigLIP and LiT, which locks the images' network."""

    updates: Count | None = None
    """Steps of the optimizer; default: the recipe's, 500 for small."""

    batch_size: Annotated[int, Range(2)] | None = None
    """Images of an update over all processes; default: the recipe's, 128 for small."""

    sub_batch: Annotated[int, Range(0)] = 0
    """Images whose activations are in memory at a time; 0 for all. It changes no update."""

    learning_rate: Annotated[float, Range(above=0)] | None = None
    """Peak learning rate; default: the recipe's."""

    warmup: Annotated[int, Range(0)] | None = None
    """Updates over which it rises; default: the recipe's, at most a tenth of the updates."""

    flip: bool = False
    """Flip images at random; not for captions that speak of left and right."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward pass."""

    seed: Seed = 0
    """Seed of the weights, of scenes, of the order and of the crops."""

    out: RunPath = Path("vl-vlm-train")
    """Folder for model/ (for --model of the other commands), results.csv, retrieval.png, and the record of the run."""

    workers: Annotated[int, Range(0)] = 0
    """Processes that prepare images; they change no number."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("captions", "split", "limit", "skip_broken", "test_share"),
        "Model": (
            *("model", "loss", "image_size", "width", "depth", "dim"),
            *("context_length", "vocabulary_size"),
        ),
        "Training": (
            *("recipe", "updates", "batch_size", "sub_batch", "learning_rate", "warmup", "flip", "precision"),
            "seed",
        ),
        "Output": ("out",),
        "Runtime": ("workers",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range, or values do not go together.
            FileNotFoundError: If there is no such model.
        """
        check_values(self)
        if self.image_size % 8:
            raise ValueError(f"--image-size must be a multiple of 8, got {self.image_size}")
        if self.width % 32:
            raise ValueError(f"--width must be a multiple of 32, got {self.width}")
        loss: str = self.loss
        if self.model is not None:
            folder = model_folder(self.model)
            loss = loss if folder is None else str(read_configuration(folder)["loss"])
            for field in fields(self):
                if field.name in self.GROUPS["Model"][1:] and getattr(self, field.name) != field.default:
                    option = f"--{field.name.replace('_', '-')}"
                    raise ValueError(
                        f"{option} is for a new model, and --model {self.model} has its own; leave one out"
                    )
        elif self.recipe == "lit":
            raise ValueError(
                "--recipe lit needs --model, whose network of images stays as it is; make one in Python with Towers"
            )
        if self.recipe == "siglip" and loss != "sigmoid":
            raise ValueError("--recipe siglip needs --loss sigmoid, or a --model trained with it, got info_nce")
        if self.updates is not None and self.warmup is not None and self.warmup > self.updates:
            raise ValueError(f"--warmup must be at most --updates, got {self.warmup} and {self.updates}")
        if self.captions == SCENES and self.split is not None:
            raise ValueError(
                f"--split must be left out for scenes, whose other splits are evaluated, got {self.split!r}"
            )

    def check_input(self) -> None:
        """Check what can be seen of the captions without a model; see `check_captions`."""
        if self.captions != SCENES:
            check_captions(
                self.captions,
                "--captions",
                split=self.split,
                default_split="train",
                split_argument="--split",
                exclude=self.out,
                skip_broken=self.skip_broken,
            )
