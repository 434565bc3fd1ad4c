"""The settings of `vl-diffusion adapt`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from vl_core.cli import Count, DeviceName, Groups, ModelName, Range, RunPath, Seed, check_values
from vl_core.corruptions import CORRUPTIONS, PUBLISHED_SIZES, SEVERITIES
from vl_core.data import check_images, check_source

from vl_diffusion.checks import checked_classes
from vl_diffusion.classification.candidates import checked_templates
from vl_diffusion.commands.settings.class_names import class_names
from vl_diffusion.commands.settings.classifier import Precision, PromptTemplate
from vl_diffusion.commands.settings.model import ModelSettings
from vl_diffusion.studies.adaptation.names import METHOD_NAMES, source_folder


@dataclass(frozen=True, kw_only=True)
class Adapt(ModelSettings):
    """Compare methods that adapt a classifier to corrupted images with a diffusion model.

    All methods get the same corrupted images, and the clean ones. Without arguments: a hundred held-out images of
    clothes under four corruptions, a minute or two on two cores. Rerun an interrupted command to resume, or a finished
    one with more images, corruptions, methods or seeds to extend it.
    """

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image folders with one subfolder per class, .npz or .parquet files, or names of built-in data sets."""

    model: ModelName = "fashion_robust"
    """The diffusion model: "fashion_robust" or "fashion" (built in), the folder of a diffusers pipeline or network, a
    .safetensors file of a whole pipeline, or a hub id."""

    source: ModelName = "fashion_few"
    """The classifier: "fashion_few" (built in), or a folder, such as of a transformers image classifier; {seed} in its
    name is replaced by the seed."""

    classes: tuple[str, ...] | None = None
    """Class names in the order of the logits, or @FILE with one per line; default: those in the classifier's
    configuration."""

    corruptions: tuple[str, ...] = ("impulse_noise", "glass_blur", "fog", "contrast")
    """Names of corruptions, or "all" fifteen; clean images are always included."""

    severities: tuple[int, ...] = (5,)
    """Severities of the corruptions, from 1 to 5."""

    tuned_for: Annotated[int, Range(PUBLISHED_SIZES[0], PUBLISHED_SIZES[-1])] | None = None
    """Image size in pixels, from 32 to 224, for which published corruption strengths are used; default: that of the
    images."""

    methods: tuple[str, ...] = ("source", "tent", "default", "default_online")
    """Any of source, tent, default, default_online, ungated, diffusion_tta (slow: 900 forward and 900 backward passes
    per image) and diffusion_classifier; the source is always included."""

    seeds: tuple[Seed, ...] = (0,)
    """Seeds of the classifier's training, if there are several, with the same noise; otherwise seeds of the methods'
    noise. Corruptions do not change."""

    limit: Count | None = None
    """Maximum number of images per corruption and severity, balanced over classes; a larger limit includes them."""

    split: str | None = None
    """Split of the data sets; default: test, if they have splits."""

    strict: bool = False
    """Refuse images that cannot be read before computing anything, instead of leaving them out."""

    out: RunPath = Path("vl-diffusion-adapt")
    """Folder for adapt.csv, gains.csv, adapt.png, images.png and finished results."""

    prompt_template: PromptTemplate = "a photo of a {}."
    """For text-conditional models: a prompt with {} for the class name."""

    batch_size: Count = 64
    """Evaluations per call of the diffusion model."""

    precision: Precision = "float32"
    """Precision of the diffusion model, by autocast; its weights, the classifier and all errors are float32."""

    compile: bool = False
    """Compile the diffusion model with torch.compile, for the errors of individual classes."""

    device: DeviceName = "auto"
    """"cpu", "cuda", ..., or "auto" for a GPU if available."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "limit", "strict"),
        "Model": (
            "model",
            "source",
            "classes",
            "variant",
            "model_config",
            "timestep_embedding",
            "image_size",
            "prompt_template",
        ),
        "Comparison": ("corruptions", "severities", "tuned_for", "methods", "seeds"),
        "Output": ("out",),
        "Runtime": ("batch_size", "precision", "compile", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"spec": "images", "config": "model_config"}

    def check(self) -> None:
        """Check what needs neither the models nor the images.

        Raises:
            ValueError: If a name is unknown or a number out of range.
            OSError: If a file is missing.
        """
        check_values(self)
        for option, values, known in (
            ("corruptions", self.named_corruptions(), CORRUPTIONS),
            ("severities", self.severities, SEVERITIES),
            ("methods", self.methods, METHOD_NAMES),
        ):
            if not values:
                raise ValueError(f"--{option} names none; leave it out for the default")
            if strangers := [value for value in values if value not in known]:
                raise ValueError(f"--{option} must be among {', '.join(map(str, known))}, got {strangers[0]}")
        if not self.seeds:
            raise ValueError("--seeds names none; leave it out for the default")
        for seed in self.seeds:
            if not (folder := source_folder(self.source, seed)).joinpath("config.json").is_file():
                raise ValueError(f"--source must be the folder of a classifier, with a config.json, got {folder}")
        checked_templates(self.prompt_template)
        if (classes := class_names(self.classes)) is not None:
            checked_classes(classes)
        self.check_model()
        for spec in self.images:
            check_source(spec, "images")

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images(
            self.images or ("fashion",),
            split=self.split,
            default_split="test",
            exclude=self.out,
            limit=self.limit,
            labeled=True,
            strict=self.strict,
        )

    def named_corruptions(self) -> tuple[str, ...]:
        """The names of the corruptions, with "all" spelled out."""
        return CORRUPTIONS if self.corruptions == ("all",) else self.corruptions
