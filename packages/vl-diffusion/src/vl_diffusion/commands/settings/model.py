"""The settings of a model and its files, shared by the commands that load one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vl_core.cli import Count, ModelName

from vl_diffusion.checks import TimestepEmbedding
from vl_diffusion.models.inspection import check_model_files


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """A diffusion model on the command line."""

    model: ModelName = "fashion"
    """"fashion" (built in), the folder of a diffusers pipeline or network, a .safetensors file of a whole pipeline, or
    a hub id."""

    variant: str | None = None
    """Variant of the weights, such as fp16; default: those without one, or the only one that there is."""

    model_config: ModelName | None = None
    """For a single file: the folder or hub id of a saved pipeline of the same family and size, for the configuration
    and the parts that the file lacks; default: the published one, from the hub."""

    timestep_embedding: TimestepEmbedding = "auto"
    """For a DiT: evaluate the published network (weights converted to diffusers), what diffusers computes (models
    trained with it), or decide by the weights (auto)."""

    image_size: Count | None = None
    """For text-conditional models: height and width of the images in pixels; default: the training resolution."""

    def check_model(self) -> None:
        """Check what the files of the model tell; see `check_model_files`."""
        check_model_files(self.model, variant=self.variant, config=self.model_config, image_size=self.image_size)

    def loading(self) -> dict[str, Any]:
        """Arguments of `load_denoiser`, apart from the precision."""
        return {
            "path_or_id": self.model,
            "variant": self.variant,
            "config": self.model_config,
            "timestep_embedding": self.timestep_embedding,
            "image_size": self.image_size,
        }
