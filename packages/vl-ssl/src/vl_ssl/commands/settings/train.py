"""The settings of `vl-ssl train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from vl_core.cli import Count, Groups, ImageSource, Metavar, Range, RunPath, Seed, check_values
from vl_core.data import check_images

from vl_ssl.training.configuration import ABLATED, Ablation

BUILT_IN = "fashion"
"""The images of the default, for which other defaults are chosen too."""
SMALL_RESNET = "small_resnet"
ALARM = "alarm"
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "predictor_hidden": ("simsiam", "byol", "moco-v3", "nnsiam"),
    "target_momentum": ("byol", "moco-v3"),
    "freeze_patch_embedding": ("moco-v3",),
}
"""Methods that take an option."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a network on images without labels, and watch for collapse; rerun to resume.

    By default: a small residual network on Fashion-MNIST by SimSiam, beside the same run without the stop-gradient,
    which collapses; in about three minutes.
    """

    images: ImageSource = BUILT_IN
    """A folder, an .npz or .parquet file, or a built-in data set. Labels are used for k-NN alone."""

    split: str | None = None
    """Split to train on; default: train, if there are splits."""

    limit: Count | None = None
    """Maximum number of images, chosen at random; default: all, of the built-in Fashion-MNIST 3,000."""

    skip_broken: bool = False
    """Leave out images that cannot be read, and say how many; default: stop there."""

    test_share: Annotated[float, Range(0, 0.5)] = 0.1
    """Share of labeled images that is kept from training for k-NN to classify, where there is no other split."""

    size: Annotated[int, Range(8, 1024)] | None = None
    """Height and width of the views; default: those of the first image where all are small, at most 64 pixels, else
    224; for the built-in Fashion-MNIST 14, which is fast."""

    channels: Literal["auto", "1", "3"] = "auto"
    """Gray or color; default: that of the first image."""

    method: Literal["simsiam", "byol", "moco-v3", "nnsiam", "simclr", "vicreg"] = "simsiam"
    """Method."""

    beside: Ablation | None = None
    """A second run that lacks a part of the method, to compare with; default: no-stop-gradient for SimSiam on the
    built-in Fashion-MNIST, none otherwise."""

    backbone: str = SMALL_RESNET
    """Architecture of timm, or small_resnet."""

    width: Annotated[int, Range(2)] = 8
    """Channels of the first stage of small_resnet, even; features are eight times as wide."""

    depth: Literal["10", "18", "34", "50-basic"] = "10"
    """Depth of small_resnet."""

    stem_stride: Literal[1, 2] = 2
    """Stride of the stem of small_resnet; 1 sees more and costs four times as much."""

    projection: Count = 256
    """Width of the projections."""

    hidden: Count | None = None
    """Width of the projector's hidden layers; default: that of the features."""

    predictor_hidden: Count | None = None
    """Width of the predictor's hidden layer, in methods that have a predictor; default: 64."""

    target_momentum: Annotated[float, Range(0, 1)] | None = None
    """EMA decay of the target network of byol, moco-v3; default: the method's."""

    freeze_patch_embedding: bool = False
    """Keep the patch projection of a ViT as initialized, which keeps moco-v3 stable, as its paper does."""

    recipe: Literal["small", "simsiam", "byol", "moco-v3", "moco-v3-vit"] = "small"
    """Settings of training that the following ones change: for small networks, or those of the papers."""

    epochs: Count | None = None
    """Passes over as many images as there are; default: the recipe's, 20 for small."""

    batch_size: Annotated[int, Range(2)] | None = None
    """Images of an update; default: the recipe's, 64 for small."""

    accumulation: Count = 1
    """Passes in which an update is computed."""

    optimizer: Literal["sgd", "lars", "adamw"] | None = None
    """Optimizer; default: the recipe's, sgd for small."""

    learning_rate: Annotated[float, Range(above=0)] | None = None
    """Peak learning rate for 256 images; the peak is in proportion to the batch size. Default: the recipe's."""

    weight_decay: Annotated[float, Range(0)] | None = None
    """Weight decay; default: the recipe's."""

    warmup: Annotated[float, Range(0)] | None = None
    """Epochs over which the learning rate rises; default: the recipe's, at most a tenth of the epochs."""

    augmentation: Literal["auto", "small", "mocov2", "byol"] = "auto"
    """Recipe of the views; auto is small up to 32 pixels and mocov2 above."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward pass."""

    schedule: Literal["multi-epoch", "continual", "accumulate", "hybrid"] = "multi-epoch"
    """Images of each epoch: all; one chunk after the other; the chunks so far; or continual first, then all."""

    chunks: Count | None = None
    """Chunks of continual, accumulate and hybrid; default: one an epoch."""

    switch_at: Annotated[str, Metavar("SHARE")] = ALARM
    """Share of the run after which hybrid shows all images, from 0 to 1, or "alarm" to wait for one."""

    on_alarm: Literal["warn", "switch", "stop"] | None = None
    """Response to an alarm: a line, a switch of hybrid as well, or the end of the run, from which warn goes on;
    default: switch where hybrid waits for an alarm, warn otherwise. A run beside only warns."""

    rise: Annotated[float, Range(above=0, below=1)] = 0.75
    """Share of the way from the lowest AUC to 1 at which there is an alarm; 0.4 at most where one direction holds three
    quarters of the variance."""

    begin: Annotated[int, Range(0)] = 100
    """Updates before there may be an alarm, since a network that begins to learn changes its spectrum fast."""

    read_every: Count = 50
    """Updates between readings of the spectra, and rows of metrics."""

    probe_every: Count = 150
    """Updates between evaluations by k-NN, a multiple of --read-every."""

    probe_limit: Count = 2000
    """Maximum number of images that k-NN stores; half as many are classified."""

    seed: Seed = 0
    """Seed of weights, order and views."""

    out: RunPath = Path("vl-ssl-train")
    """Folder for model/, train.png, report.html, curve.csv, and the record of the run."""

    workers: Annotated[int, Range(0)] = 0
    """Processes that prepare images; they change no number."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "limit", "skip_broken", "test_share", "size", "channels"),
        "Method": (
            *("method", "beside", "projection", "hidden", "predictor_hidden", "target_momentum"),
            "freeze_patch_embedding",
        ),
        "Backbone": ("backbone", "width", "depth", "stem_stride"),
        "Training": (
            *("recipe", "epochs", "batch_size", "accumulation", "optimizer", "learning_rate", "weight_decay"),
            *("warmup", "augmentation", "precision", "seed"),
        ),
        "Schedule": ("schedule", "chunks", "switch_at"),
        "Collapse": ("on_alarm", "rise", "begin", "read_every", "probe_every", "probe_limit"),
        "Output": ("out",),
        "Runtime": ("workers",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    @property
    def beside_run(self) -> str:
        """The run beside, ``"none"`` for none."""
        if self.beside is not None:
            return self.beside
        return "no-stop-gradient" if self.images == BUILT_IN and self.method == "simsiam" else "none"

    @property
    def switch_share(self) -> float | None:
        """Share of the run at which a hybrid schedule switches; None to wait for an alarm."""
        return None if self.switch_at == ALARM else float(self.switch_at)

    @property
    def action(self) -> Literal["warn", "switch", "stop"]:
        """Response to an alarm."""
        if self.on_alarm is not None:
            return self.on_alarm
        return "switch" if self.schedule == "hybrid" and self.switch_share is None else "warn"

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range, or values do not go together.
        """
        check_values(self)
        if self.backbone == SMALL_RESNET and self.width % 2:
            raise ValueError(f"--width must be even, got {self.width}")
        if self.backbone != SMALL_RESNET and (self.width, self.depth, self.stem_stride) != (8, "10", 2):
            raise ValueError(
                f"--width, --depth and --stem-stride are for {SMALL_RESNET}, and --backbone {self.backbone} has its "
                "own; leave them out"
            )
        for name, methods in OPTIONS.items():
            value = getattr(self, name)
            if value is not None and value is not False and self.method not in methods:
                raise ValueError(
                    f"--{name.replace('_', '-')} must be for one of {', '.join(methods)}, got --method {self.method}; "
                    "leave it out"
                )
        if self.beside_run != "none" and self.method not in ABLATED:
            raise ValueError(
                f"--beside {self.beside_run} must be for one of {', '.join(ABLATED)}, got --method {self.method}; "
                "leave it out"
            )
        if self.probe_every % self.read_every:
            raise ValueError(
                f"--probe-every must be a multiple of --read-every, {self.read_every}, got {self.probe_every}"
            )
        self._check_schedule()

    def _check_schedule(self) -> None:
        if self.chunks is not None and self.schedule == "multi-epoch":
            raise ValueError(f"--chunks is for other schedules than multi-epoch, got {self.chunks}; leave one out")
        try:
            share = self.switch_share
        except ValueError:
            share = -1.0
        if share is not None and not 0 <= share <= 1:
            raise ValueError(f"--switch-at must be a share from 0 to 1, or {ALARM}, got {self.switch_at}")
        if share is not None and self.schedule != "hybrid":
            raise ValueError(f"--switch-at is for --schedule hybrid, got {self.schedule}")
        if self.action == "switch" and (self.schedule != "hybrid" or share is not None):
            raise ValueError("--on-alarm switch needs --schedule hybrid and --switch-at alarm")
        if self.schedule == "hybrid" and share is None and self.action != "switch":
            raise ValueError(
                f"--on-alarm {self.on_alarm} would let hybrid wait forever; give --switch-at a share, such as 0.4"
            )

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images(
            [self.images],
            "--images",
            split=self.split,
            default_split="train",
            split_argument="--split",
            exclude=self.out,
            limit=None,
            files=False,
        )
