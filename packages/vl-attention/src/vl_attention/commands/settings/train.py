"""The settings of `vl-attention train`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro
from vl_core.cli import Count, Groups, ImageSource, ModelName, Range, RunPath, Seed, check_values
from vl_core.data import UndividedError, check_images, check_source

from vl_attention.attention.pairing import Layers
from vl_attention.commands._options import check_update
from vl_attention.comparison.methods import METHODS, Method, method_of
from vl_attention.models.folders import check_models

UNDIVIDED = (
    "{} is not divided into training and test images; move its class folders into train/ and test/, or pass "
    "test images with --test-images"
)

NotNegative = Annotated[float, Range(0)]

# Options that override the recipe.
_OVERRIDES = (
    *("epochs", "warmup_epochs", "batch_size", "accumulation"),
    *("base_learning_rate", "min_learning_rate", "transfer_weight", "precision"),
)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Compare students trained from a teacher's attention with fine-tuning and training from scratch.

    By default: a small built-in teacher and 2,000 labeled Fashion-MNIST images, about twelve minutes on two cores.
    Rerun an interrupted command to resume; rerun a finished one with more methods or seeds to add them. Use
    `accelerate launch -m vl_attention train` for several GPUs.
    """

    images: tyro.conf.Positional[str] = "fashion"
    """An image folder with train/ and test/, each with a folder per class; a folder with a folder per class, which
    then needs --test-images; an .npz or .parquet file with splits; or a built-in data set."""

    test_images: ImageSource | None = None
    """Test images of the same classes: the test split of this data set, or all of it if it has no splits; default:
    the test split of the training data set."""

    teacher: ModelName = "fashion_teacher"
    """A built-in model, a timm folder, such as one written by `vl-attention pretrain`, or a hub id."""

    recipe: Literal["small_images", "vit_base", "vit_large"] = "small_images"
    """Training settings, unless overridden below."""

    labels: Annotated[int, Range(0)] = 2000
    """Number of labeled images, divided equally among the classes (a remainder is dropped); 0 for all images."""

    seeds: tuple[Seed, ...] = (0,)
    """Seeds of the choice of labels, the weights and the order of images."""

    methods: tuple[str, ...] = ("scratch", "copy", "distill", "fine-tune")
    """Any of scratch, copy, distill, fine-tune, copy_q, copy_k, copy_v, distill_q, distill_k, distill_v, output and
    relations; distill and fine-tune together add their ensemble."""

    layers: str | None = None
    """Layers to transfer: "all", "first:18", "first:75%", "last:6", "0,3,5"; default: the recipe's."""

    transfer_weight: NotNegative | None = None
    """Weight of the transfer loss, a sum over layers; default: the recipe's, or the method's."""

    limit: Count | None = None
    """Maximum number of test images, balanced over classes; default: all of them."""

    epochs: Count | None = None
    """Training epochs; default: the recipe's."""

    warmup_epochs: NotNegative | None = None
    """Warm-up epochs of the learning rate; default: the recipe's fraction of the epochs."""

    batch_size: Count | None = None
    """Batch size over all processes and accumulation steps; default: the recipe's."""

    accumulation: Count | None = None
    """Gradient accumulation steps; default: the recipe's."""

    base_learning_rate: Annotated[float, Range(above=0)] | None = None
    """Peak learning rate for batch size 256; it scales linearly with the batch size."""

    min_learning_rate: NotNegative | None = None
    """Final learning rate; default: the recipe's, which may be too high for a small batch size."""

    precision: Literal["float32", "bfloat16"] | None = None
    """Precision; bfloat16 uses autocast."""

    compile: bool = False
    """Compile the blocks: takes a minute at the start of each run, and is faster afterwards."""

    workers: Annotated[int, Range(0)] = 0
    """Data-loading worker processes per training process."""

    map_layer: int = -1
    """Layer whose maps are drawn; negative numbers count from the last."""

    out: RunPath = Path("vl-attention-train")
    """Folder for transfer.csv, transfer.png, maps.png, similarity.csv and similarity.png, and runs/ with the models."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "test_images", "labels", "limit"),
        "Model": ("teacher",),
        "Comparison": ("methods", "seeds", "recipe", "layers", "transfer_weight"),
        "Training": (
            *("epochs", "warmup_epochs", "batch_size", "accumulation"),
            *("base_learning_rate", "min_learning_rate"),
        ),
        "Output": ("map_layer", "out"),
        "Runtime": ("precision", "compile", "workers"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"spec": "images"}

    def check(self) -> None:
        """Check what needs neither the teacher nor the images.

        Raises:
            ValueError: If a name is unknown, or a number out of range.
            OSError: If the images or the teacher are missing.
        """
        if not self.methods or not self.seeds:
            raise ValueError(
                "--methods and --seeds must each name at least one, got none; leave them out for the defaults"
            )
        check_values(self)
        if strangers := [name for name in self.methods if name not in METHODS]:
            raise ValueError(f"--methods must be among {', '.join(METHODS)}, got {strangers[0]!r}")
        for method in self.chosen_methods():
            check_update(method.settings)
        check_models([self.teacher], "--teacher")
        check_source(self.images, "images")
        if self.test_images is not None:
            check_source(self.test_images, "--test-images")

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        if self.test_images is None:
            try:
                for split in ("train", "test"):
                    check_images(
                        [self.images], split=split, split_argument="images: split", exclude=self.out, files=False
                    )
            except UndividedError as error:
                raise ValueError(UNDIVIDED.format(self.images)) from error
        else:
            check_images([self.images], default_split="train", exclude=self.out, files=False, labeled=True)
            check_images(
                [self.test_images],
                "--test-images",
                default_split="test",
                exclude=self.out,
                limit=self.limit,
                files=False,
                labeled=True,
            )

    def chosen_methods(self) -> list[Method]:
        """The methods to compare, with their settings.

        Raises:
            ValueError: If one is unknown, or a setting is out of range.
        """
        layers = self.chosen_layers()
        return [self._method(name, layers) for name in dict.fromkeys(self.methods)]

    def chosen_layers(self) -> Layers | None:
        """The layers to transfer, as `pair_layers` takes them; None for those of the recipe.

        Raises:
            ValueError: If they are neither a list of numbers nor a known name.
        """
        return None if self.layers is None else _parse_layers(self.layers)

    def _method(self, name: str, layers: Layers | None) -> Method:
        changes: dict[str, Any] = {"workers": self.workers, "compile": self.compile}
        for field in _OVERRIDES:
            if (value := getattr(self, field)) is not None:
                changes[field] = value
        if self.epochs is not None and self.warmup_epochs is None:
            recipe = method_of(self.recipe, name).settings
            changes["warmup_epochs"] = self.epochs * recipe.warmup_epochs / recipe.epochs
        return method_of(self.recipe, name, layers=layers, **changes)


def _parse_layers(text: str) -> Layers:
    """Parse --layers into the argument of `pair_layers`.

    Raises:
        ValueError: If it is neither a list of numbers nor a known name.
    """
    parts = [part.strip() for part in text.split(",")]
    if all(re.fullmatch(r"-?[0-9]+", part) for part in parts):
        return [int(part) for part in parts]
    if not re.fullmatch(r"all|spread|(first|last):[0-9]+%?", text.strip()):
        raise ValueError(
            "--layers must be all, first:K or last:K, where K is a number or a percentage such as 75%, or numbers such "
            f"as 0,3,5; got {text!r}"
        )
    return text.strip()
