"""The kind, the parts and the variants of a model, read from its files before PyTorch and diffusers are imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vl_core.files import tensor_names

from vl_diffusion.models.folders import check_model_name, local_folder, read_json
from vl_diffusion.models.weights import (
    check_parts,
    check_weights,
    describe_contents,
    part_names,
    refuse_file,
)

NETWORKS = ("DiTTransformer2DModel", "UNet2DModel")
"""Bare networks, which need a scheduler; wrapped by `ClassConditionalDenoiser`, like the DiT pipeline."""

PIPELINES = (
    *("StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "FluxPipeline"),
    *("PixArtAlphaPipeline", "PixArtSigmaPipeline", "DiTPipeline"),
)
"""Class names of all supported pipelines."""

UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of pipelines that only sampling uses."""


def check_model_files(
    path_or_id: str | Path,
    *,
    variant: str | None = None,
    config: str | Path | None = None,
    image_size: int | None = None,
) -> None:
    """Check that a model can be loaded, as far as its files tell; those on the hub are not asked for.

    Args:
        path_or_id: See :func:`~vl_diffusion.models.loading.load_denoiser`.
        variant: See there.
        config: See there.
        image_size: See there.

    Raises:
        FileNotFoundError: If there is neither such a folder nor a hub id of this form.
        ValueError: If an argument does not go with the model, it is not supported, or files are damaged or missing.
    """
    check_model_name(path_or_id)
    folder = local_folder(path_or_id)
    if folder is not None and folder.is_file():
        if folder.suffix != ".safetensors":
            raise refuse_file(folder)
        tensor_names(folder)
        return
    if config is not None:
        raise ValueError(f"config must be None for {path_or_id}, which is no single file, got {str(config)!r}")
    if folder is None:
        return
    if (folder / "model_index.json").is_file():
        index = read_json(folder / "model_index.json", dict)
        if supported(index, folder) == "DiTPipeline" and image_size is not None:
            raise ValueError(f"image_size must be None for {folder}, whose size is fixed, got {image_size}")
        check_parts(folder, part_names(index, dict.fromkeys(UNUSED_PARTS)), variant)
    elif (folder / "config.json").is_file():
        check_network(folder)
        if image_size is not None:
            raise ValueError(
                f"image_size must be None for the network in {folder}, whose size is fixed, got {image_size}"
            )
        check_weights(folder, variant, optional=False)
    else:
        raise ValueError(
            f"{folder} has no diffusion model: neither model_index.json nor config.json is there; "
            f"{describe_contents(folder)}"
        )


def check_network(folder: Path) -> dict[str, Any]:
    """Check that the folder of a bare network has a supported one and its scheduler, and return its configuration.

    Raises:
        ValueError: If it does not.
    """
    content = read_json(folder / "config.json", dict)
    kind = content.get("_class_name")
    if kind not in NETWORKS:
        whole = f"; pass the whole pipeline: {folder.parent}" if (folder.parent / "model_index.json").is_file() else ""
        raise ValueError(
            f"{folder / 'config.json'} describes a {kind}; supported networks are {', '.join(NETWORKS)}{whole}"
        )
    if not (folder / "scheduler_config.json").is_file():
        raise ValueError(f"{folder} has no scheduler_config.json; save the training scheduler there")
    return content


def family(class_name: str) -> str | None:
    """Name in `PIPELINES` of a pipeline class; None if it is not supported.

    Image-to-image and inpainting variants have the same parts as the text-to-image pipeline.
    """
    name = re.sub("(Img2Img|Inpaint)(?=Pipeline$)", "", class_name)
    return name if name in PIPELINES else None


def supported(index: Mapping[str, Any], source: object) -> str:
    """The class in ``model_index.json``, or ValueError if it is not supported."""
    kind = str(index.get("_class_name"))
    if family(kind) is None:
        raise ValueError(f"{source} is a {kind}; supported pipelines are {', '.join(PIPELINES)}")
    return kind
