"""The settings of `vl-diffusion demo`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vl_core.cli import DeviceName, Groups, ImageSource, Metavar, check_at_least
from vl_core.data import check_source

from vl_diffusion.checks import checked_classes, checked_settings
from vl_diffusion.classification.candidates import checked_templates
from vl_diffusion.commands.settings.class_names import class_names
from vl_diffusion.commands.settings.classifier import Precision, PromptTemplate
from vl_diffusion.commands.settings.model import ModelSettings


@dataclass(frozen=True, kw_only=True)
class Demo(ModelSettings):
    """Serve a web page: drop an image, edit the class names, and watch classes being eliminated.

    Requires `pip install 'vl-diffusion[demo]'`. The page makes no requests to other machines, and is reachable only
    from this machine unless --host is given. Stop it with Ctrl-C.
    """

    classes: tuple[str, ...] | None = None
    """Initial class names, or @FILE with one per line; default: the model's own."""

    examples: tuple[ImageSource, ...] | None = None
    """Image files, folders or data sets with examples, of which eight are shown; default: clothes for "fashion"."""

    draws: int = 250
    """Maximum draws per class."""

    prompt_template: tuple[PromptTemplate, ...] = ("a photo of a {}.",)
    """For text-conditional models: one or several prompts with {} for the class name."""

    seed: int = 0
    """Seed of the noise."""

    batch_size: int = 64
    """Evaluations per call of the network; results do not depend on it."""

    precision: Precision = "float32"
    """Precision of the network; the schedule and the errors are float32."""

    device: DeviceName = "auto"
    """"cpu", "cuda", ..., or "auto" for a GPU if available."""

    host: Annotated[str, Metavar("ADDRESS")] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for access from other machines."""

    port: int | None = None
    """Port to listen on; default: the first free one from 7860."""

    browser: bool = False
    """Open the page in the web browser."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("classes", "examples"),
        "Model": ("model", "variant", "model_config", "timestep_embedding", "image_size", "prompt_template"),
        "Search": ("draws",),
        "Page": ("host", "port", "browser"),
        "Runtime": ("seed", "batch_size", "precision", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"spec": "examples"}

    def check(self) -> None:
        """Check what needs neither the model nor the images.

        Raises:
            ValueError: If a setting is out of range.
            OSError: If a file is missing.
        """
        self.check_model()
        check_at_least("--draws", self.draws, 1)
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ValueError(f"--port must be from 1 to 65535, got {self.port}")
        checked_settings(batch_size=self.batch_size, temperature=1.0, seed=self.seed)
        checked_templates(self.prompt_template)
        if (classes := class_names(self.classes)) is not None:
            checked_classes(classes)
        for spec in self.examples or ():
            check_source(spec, "--examples")
