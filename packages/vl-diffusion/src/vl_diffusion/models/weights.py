"""Weight files of a saved model: the variants that there are, and whether the files are whole.

Checked before a model is built, because the loaders name neither the file nor the remedy, and read a folder without a
vocabulary as a tokenizer that knows no word.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from vl_core.files import tensor_names

from vl_diffusion.models.folders import read_json

if TYPE_CHECKING:
    import torch

PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
"""Endings of files that may hold pickles, which run code when they are read."""

_OTHER_FORMATS = {
    ".gguf": "GGUF",
    ".onnx": "ONNX",
    ".msgpack": "Flax",
    ".h5": "TensorFlow",
    ".xml": "OpenVINO",
    ".tflite": "TensorFlow Lite",
}

# Such as model.safetensors, model.fp16-00001-of-00002.safetensors, and model-00001-of-00002.fp16.safetensors.
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<new>[^.]+?))?(?:-\d{5}-of-\d{5})?(?:\.(?P<old>[^.]+))?\.safetensors"
)
_INDEX = re.compile(r"(?:diffusion_pytorch_model|model)\.safetensors\.index(?:\.(?P<variant>[^.]+))?\.json")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
_MODULES = ("unet", "transformer", "vae", "text_encoder")


def check_parts(folder: Path, parts: Iterable[str], variant: str | None) -> dict[str, str | None]:
    """Check the parts of a pipeline, each in its own subfolder.

    Args:
        folder: The pipeline's folder.
        parts: Names of the parts, as in ``model_index.json``.
        variant: The variant to load, such as ``"fp16"``; None for the weights without one.

    Returns:
        The variant to load of each part that has weights: `variant` where there is one of that name, otherwise the
        weights without a variant, and without `variant` the only one that there is.

    Raises:
        ValueError: If a part has no such weights, or a file is missing or damaged; the message says what to do.
    """
    chosen: dict[str, str | None] = {}
    for name in parts:
        part = folder / name
        if not part.is_dir():
            raise ValueError(f"{folder} has no folder {name}, a part of its pipeline; copy the whole model")
        if name.startswith("scheduler") and not (part / "scheduler_config.json").is_file():
            raise ValueError(f"{part} has no scheduler_config.json; copy the whole model")
        if name.startswith("tokenizer") and not any((part / file).is_file() for file in _VOCABULARIES):
            raise ValueError(f"{part} has no vocabulary (none of {', '.join(_VOCABULARIES)}); copy the whole tokenizer")
        if name.startswith(_MODULES):
            if not (part / "config.json").is_file():
                raise ValueError(f"{part} has no config.json; copy the whole model")
            chosen[name] = check_weights(part, variant)
    if variant is not None and chosen and variant not in chosen.values():
        raise ValueError(
            refuse_variant(folder, variant, {found for name in chosen for found in _variants(folder / name)})
        )
    return chosen


def check_weights(folder: Path, variant: str | None, *, optional: bool = True) -> str | None:
    """Check the weights in one folder, and return the variant to load.

    Args:
        folder: Folder with the weights.
        variant: See :func:`check_parts`.
        optional: Take weights without a variant where there is none of that name.

    Raises:
        ValueError: See :func:`check_parts`.
    """
    found = _variants(folder)
    if not found:
        raise ValueError(_without_weights(folder))
    chosen = variant
    if variant is None and None not in found and len(found) == 1:
        (chosen,) = found
    if chosen not in found and optional and None in found:
        chosen = None
    if chosen not in found:
        raise ValueError(refuse_variant(folder, variant, found))
    for path in found[chosen]:
        tensor_names(path)
    return chosen


def refuse_variant(source: object, asked: str | None, found: Iterable[str | None]) -> str:
    """The message for a variant that a model does not have, or for none where several are to choose from.

    Args:
        source: The model.
        asked: The variant that was asked for.
        found: The variants that there are; None for weights without one.
    """
    plain = None in (found := set(found))
    named = sorted(repr(name) for name in found if name is not None)
    if not named:
        return f"variant must be None for {source}, whose weights have none, got {asked!r}; leave it out"
    there = " or ".join([*named, "None"] if plain else named)
    # Leaving it out takes the weights without a variant, or the only one.
    out = ", or leave it out" if asked is not None and (plain or len(named) == 1) else ""
    remedy = f"pass variant={named[0]}" if len(named) == 1 else "pass one of these"
    return f"variant must be {there} for {source}, which has no other weights, got {asked!r}; {remedy}{out}"


def variants_among(names: Iterable[str]) -> set[str | None]:
    """Variants of the weights among names of files; None for weights without one."""
    matches = (_WEIGHTS.fullmatch(name.rpartition("/")[2]) for name in names)
    return {match["new"] or match["old"] for match in matches if match}


def refuse_file(path: Path) -> ValueError:
    """The error for a file that is no model in safetensors."""
    if path.suffix in PICKLED:
        return ValueError(
            f"{path} may be pickled, and unpickling runs code, so it is not read; "
            "save its model as safetensors where you trust the file, or take one from its publisher"
        )
    if path.suffix in _OTHER_FORMATS:
        kind = _OTHER_FORMATS[path.suffix]
        return ValueError(f"{path} is a {kind} file; take the safetensors weights of the same model")
    return ValueError(f"{path} is no model; pass a folder, or a .safetensors file of a whole pipeline")


def load_part(
    folder: Path, name: str, entry: Sequence[str], dtype: torch.dtype, variant: str | None
) -> torch.nn.Module:
    """Load one network of a pipeline from its folder.

    Args:
        folder: The pipeline's folder.
        name: Name of the part.
        entry: Library and class, as in ``model_index.json``.
        dtype: Precision.
        variant: Variant of the weights.

    Raises:
        ValueError: If the class is of another library than diffusers and transformers.
    """
    library, kind = entry
    if library not in ("diffusers", "transformers"):
        raise ValueError(f"{name} in {folder} must be a class of diffusers or transformers, got {library}.{kind}")
    part_class = getattr(importlib.import_module(library), kind)
    precision = {"dtype" if library == "transformers" else "torch_dtype": dtype}
    chosen = check_weights(folder / name, variant)
    part: torch.nn.Module = part_class.from_pretrained(
        str(folder), subfolder=name, variant=chosen, use_safetensors=True, **precision
    )
    return part


def part_names(index: Mapping[str, Any], left_out: Mapping[str, Any]) -> list[str]:
    """Names of the parts that a pipeline is loaded with, from its ``model_index.json``."""
    entries = {name: entry for name, entry in index.items() if isinstance(entry, list) and len(entry) == 2}
    return [name for name, (library, _) in entries.items() if library is not None and name not in left_out]


def module_names(index: Mapping[str, Any], left_out: Mapping[str, Any]) -> list[str]:
    """Names of the parts that have weights."""
    return [name for name in part_names(index, left_out) if name.startswith(_MODULES)]


def _variants(folder: Path) -> dict[str | None, list[Path]]:
    """Weight files of each variant; None for those without one. Indices of shards name the files that must exist."""
    files: dict[str | None, set[str]] = {}
    for path in folder.iterdir():
        if match := _WEIGHTS.fullmatch(path.name):
            files.setdefault(match["new"] or match["old"], set()).add(path.name)
        elif match := _INDEX.fullmatch(path.name):
            shards: Any = read_json(path, dict).get("weight_map")
            if not isinstance(shards, Mapping) or not all(isinstance(name, str) for name in shards.values()):
                raise ValueError(f"{path} must map weights to files under weight_map; copy the whole model")
            files.setdefault(match["variant"], set()).update(shards.values())
    return {variant: sorted(folder / name for name in names) for variant, names in files.items()}


def _without_weights(folder: Path) -> str:
    """The message for a folder without weights in safetensors."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    if pickled := [name for name in names if name.endswith(PICKLED)]:
        return (
            f"{folder} has only {pickled[0]}, which may be pickled, and unpickling runs code, so it is not read; "
            "if you trust it, load the pipeline with diffusers and save it with save_pretrained, as safetensors"
        )
    for name in names:
        if (kind := _OTHER_FORMATS.get(Path(name).suffix)) is not None:
            return f"{folder} has only {kind} weights ({name}); take the safetensors weights of the same model"
    if any("lora" in name for name in names):
        return f"{folder} has the weights of a LoRA; pass the pipeline object after pipeline.load_lora_weights"
    other = f", only {', '.join(names[:5])}" if names else ""
    return f"{folder} has no weights{other}; copy the whole model, with its .safetensors files"


def describe_contents(folder: Path) -> str:
    """Advice for a folder that is neither a pipeline's nor a network's, from what is in it."""
    names = sorted(path.name for path in folder.iterdir())
    if any("lora" in name or name == "adapter_config.json" for name in names):
        return "it looks like a LoRA: load its base model in diffusers, pipeline.load_lora_weights, pass the pipeline"
    if single := [name for name in names if name.endswith(".safetensors")]:
        return f"pass the file if it holds a whole pipeline: {folder / single[0]}"
    for name in names:
        if (folder / name / "model_index.json").is_file():
            return f"pass the folder inside: {folder / name}"
    if kinds := [_OTHER_FORMATS[Path(name).suffix] for name in names if Path(name).suffix in _OTHER_FORMATS]:
        return f"it holds {kinds[0]} files; take the safetensors weights of the same model"
    return "pass the folder that save_pretrained wrote"


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a safetensors file.

    Raises:
        ValueError: See :func:`vl_core.files.tensor_names`.
    """
    names = tensor_names(path)
    with safe_open(str(path), framework="np") as weights:
        return {name: tuple(weights.get_slice(name).get_shape()) for name in names}
