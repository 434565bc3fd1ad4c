"""Single files of whole pipelines, as they are published for other programs, read by diffusers' own loader.

Such a file has the weights under their original names, and no configuration. The configuration, the tokenizers, and the
parts that the file lacks come from the folder of a pipeline of the same family.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from vl_diffusion.models.folders import local_folder
from vl_diffusion.models.weights import (
    check_parts,
    check_weights,
    load_part,
    module_names,
    part_names,
    refuse_file,
    tensor_shapes,
)

# Where the original names of a network begin. diffusers takes a file with none of its known names for one of Stable
# Diffusion 1.
_ORIGINAL = ("model.diffusion_model.", "double_blocks.", "joint_blocks.")

# Where the names of a network that diffusers saved begin.
_DIFFUSERS = ("down_blocks.", "transformer_blocks.", "single_transformer_blocks.")

# Scales of quantized weights, which diffusers would leave out without a word: the weights alone mean nothing.
_QUANTIZED = (".scale_weight", ".weight_scale", ".scale_input", ".input_scale", ".absmax", "scaled_fp8")

# Where the names of the other parts begin, in diffusers' converters.
_PREFIXES: dict[str, dict[str, tuple[str, ...]]] = {
    "StableDiffusionPipeline": {"text_encoder": ("cond_stage_model.",)},
    "StableDiffusionXLPipeline": {
        "text_encoder": ("conditioner.embedders.0.",),
        "text_encoder_2": ("conditioner.embedders.1.",),
    },
    "StableDiffusion3Pipeline": {
        "text_encoder": ("text_encoders.clip_l.",),
        "text_encoder_2": ("text_encoders.clip_g.",),
        "text_encoder_3": ("text_encoders.t5xxl.",),
    },
    "FluxPipeline": {"text_encoder": ("text_encoders.clip_l.",), "text_encoder_2": ("text_encoders.t5xxl.",)},
}
_VAE = ("first_stage_model.", "vae.")

_REMEDY = "pass config= (--model-config), the folder of a saved pipeline of the same family and size, with all parts"

SINGLE_FILES = tuple(_PREFIXES)
"""Pipelines that diffusers loads from a single file."""


def find_config(path: Path, config: str | Path | None) -> Path:
    """Folder of the pipeline with the configuration of a single file.

    Args:
        path: The file.
        config: A local folder, or a hub id; None for the one that diffusers infers from the names and shapes of the
            weights, on the hub or in its cache.

    Raises:
        ValueError: If the file has no network, or there is no such folder; the message says what to do.
    """
    if path.suffix != ".safetensors":
        raise refuse_file(path)
    shapes = tensor_shapes(path)
    original, saved = (any(name.startswith(start) for name in shapes) for start in (_ORIGINAL, _DIFFUSERS))
    if any("lora" in name for name in shapes):
        raise ValueError(
            f"{path} has the weights of a LoRA; load its base model in diffusers, call pipeline.load_lora_weights, and "
            "pass the pipeline"
        )
    if scales := [name for name in shapes if name.endswith(_QUANTIZED)]:
        raise ValueError(
            f"{path} has quantized weights ({scales[0]}), which are not supported; take those in float16, float32, "
            "bfloat16 or plain float8"
        )
    if saved and config is None and (path.parent / "config.json").is_file():
        raise ValueError(f"{path} has the weights of one network; pass the folder of the model, or {_REMEDY}")
    if not original and not saved:
        some = ", ".join(sorted(shapes)[:3])
        raise ValueError(f"{path} has no denoising network (its weights are {some} ...); pass a whole pipeline")
    if config is not None and (folder := local_folder(config)) is not None:
        if not (folder / "model_index.json").is_file():
            raise ValueError(f"config must be the folder of a pipeline, with a model_index.json, got {folder}")
        return folder
    if config is None and not original:
        raise ValueError(f"{path} has the weights of one network; {_REMEDY}")
    wanted = str(config) if config is not None else _inferred(shapes)
    try:
        # As in diffusers: the configuration and the vocabularies, no weights.
        return Path(snapshot_download(wanted, allow_patterns=["*.json", "*.txt", "*.model"]))
    except (OSError, HFValidationError) as error:
        source = "config must be a folder or a hub id, and" if config is not None else f"{path} is a single file, and"
        raise ValueError(f"{source} its configuration {wanted} cannot be had from the hub; {_REMEDY}") from error


def load_single_file(
    path: Path,
    folder: Path,
    index: Mapping[str, Any],
    kind: str,
    dtype: torch.dtype,
    variant: str | None,
    left_out: Mapping[str, Any],
) -> Any:
    """Load a pipeline from a single file and the folder of its configuration.

    Args:
        path: The file.
        folder: Folder of a pipeline of the same family.
        index: Its ``model_index.json``.
        kind: Its class, without the suffix of a variant for another task.
        dtype: Precision.
        variant: Variant of the weights in `folder`, where the file lacks a part.
        left_out: Parts to load the pipeline without.

    Raises:
        ValueError: If diffusers loads no single file of this pipeline, a part is missing in both, there is none of the
            variant, or the file and the configuration do not fit.
    """
    import diffusers

    if kind not in SINGLE_FILES:
        raise ValueError(
            f"{path} must be the folder that save_pretrained writes, since diffusers loads no single file of a {kind}; "
            f"it does of {', '.join(SINGLE_FILES)}"
        )
    names = tensor_shapes(path).keys()
    parts: dict[str, Any] = dict(left_out)
    modules = module_names(index, left_out)
    check_parts(folder, [name for name in part_names(index, left_out) if name not in modules], None)
    chosen: set[str | None] = set()
    for name in modules:
        starts = _VAE if name == "vae" else _PREFIXES[kind].get(name)
        if starts is None or any(key.startswith(starts) for key in names):
            continue
        if (folder / name / "config.json").is_file() and any((folder / name).glob("*.safetensors")):
            chosen.add(check_weights(folder / name, variant))
            parts[name] = load_part(folder, name, index[name], dtype, variant)
        elif name == "text_encoder_3":
            parts |= {"text_encoder_3": None, "tokenizer_3": None}
        else:
            raise ValueError(f"{path} has no {name}, and neither has {folder}; {_REMEDY}")
    if variant is not None and variant not in chosen:
        raise ValueError(
            f"variant must be None for {path}, which lacks no part that {folder} has of that variant, got {variant!r}; "
            "leave it out"
        )
    if "text_encoder_3" in parts and parts["text_encoder_3"] is None and "text_encoder_3" not in left_out:
        warnings.warn(f"{path} has no T5, text_encoder_3, and is loaded without", stacklevel=2)
    try:
        return getattr(diffusers, kind).from_single_file(
            str(path), config=str(folder), torch_dtype=dtype, local_files_only=True, **parts
        )
    except Exception as error:
        # diffusers leaves a weight that is missing empty, and cannot convert its precision.
        incomplete = isinstance(error, NotImplementedError)
        reason = "weights are missing" if incomplete else f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{path} does not fit the configuration in {folder} ({reason}); {_REMEDY}") from error


def _inferred(shapes: Mapping[str, Collection[int]]) -> str:
    """Hub id of the pipeline that diffusers takes the configuration of such a file from."""
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    weights = {name: torch.empty(tuple(shape), device="meta") for name, shape in shapes.items()}
    return str(fetch_diffusers_config(weights)["pretrained_model_name_or_path"])
