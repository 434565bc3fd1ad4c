"""From an object, a folder or a hub id to a denoiser."""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.models.families.class_conditional import ClassConditionalDenoiser
from vl_diffusion.models.families.flux import FluxDenoiser
from vl_diffusion.models.families.pixart import PixArtDenoiser
from vl_diffusion.models.families.stable_diffusion import (
    StableDiffusion3Denoiser,
    StableDiffusionDenoiser,
    StableDiffusionXLDenoiser,
)
from vl_diffusion.models.folders import BUILT_IN, local_folder, read_json, read_schedule
from vl_diffusion.models.schedule import NoiseSchedule

NETWORKS = ("DiTTransformer2DModel", "UNet2DModel")
"""Bare networks, which come with a scheduler; `ClassConditionalDenoiser` wraps them, and the DiT pipeline."""

PROMPTED: dict[str, Callable[..., Denoiser]] = {
    "StableDiffusionPipeline": StableDiffusionDenoiser,
    "StableDiffusionXLPipeline": StableDiffusionXLDenoiser,
    "StableDiffusion3Pipeline": StableDiffusion3Denoiser,
    "FluxPipeline": FluxDenoiser,
    "PixArtAlphaPipeline": PixArtDenoiser,
    "PixArtSigmaPipeline": PixArtDenoiser,
}
"""Text-conditional pipelines."""

PIPELINES = (*PROMPTED, "DiTPipeline")
"""All pipelines by name."""

_CONTRACT = ("schedule", "encode_images", "encode_classes", "predict", "image_size", "image_channels")


def as_denoiser(
    model: Any,
    *,
    scheduler: Any | None = None,
    device: str | torch.device | None = None,
    image_size: int | None = None,
) -> Denoiser:
    """Wrap a diffusers pipeline or network; an object that already fulfills the contract is returned as it is.

    Args:
        model: See :class:`~vl_diffusion.DiffusionClassifier`.
        scheduler: For a bare network: its diffusers scheduler.
        device: Where to compute; default: where the model is.
        image_size: For a text-conditional pipeline: height and width of the images, in pixels; default: that of the
            training.

    Raises:
        ValueError: If the object is of no supported kind, if a bare network comes without its scheduler or anything
            else with one, or if the size of its images cannot be chosen.
    """
    if isinstance(model, str | Path):
        raise ValueError(f"model must be a model and not its name, got {str(model)!r}; load it with from_pretrained")
    finished = all(hasattr(model, name) for name in _CONTRACT)
    if scheduler is not None and (finished or family_of(model) is not None):
        raise ValueError(
            f"scheduler is for a bare network, and this {type(model).__name__} has its own; set that to another one "
            "before the model is passed"
        )
    if finished:
        denoiser: Denoiser = model
        if image_size not in (None, denoiser.image_size):
            raise ValueError(f"image_size={image_size} is given to a model that is wrapped at {denoiser.image_size}")
        if device is not None:
            _move(denoiser, device)
        return denoiser
    if device is not None and hasattr(model, "to"):
        model = model.to(device)
    kind = family_of(model)
    if kind in PROMPTED:
        return PROMPTED[kind](model, image_size=image_size)
    if image_size is not None:
        raise ValueError(f"image_size={image_size} is given, and the size of a {type(model).__name__} is fixed")
    if kind is not None:
        return _dit_pipeline(model, _names_of_labels(model.labels))
    if type(model).__name__ in NETWORKS:
        if scheduler is None:
            raise ValueError(f"a bare {type(model).__name__} needs its scheduler; pass scheduler=")
        return ClassConditionalDenoiser(model, NoiseSchedule.from_scheduler(scheduler))
    raise ValueError(
        f"model must be one of {', '.join(PIPELINES)}, a {' or '.join(NETWORKS)} with its scheduler, or have the "
        f"members of vl_diffusion.Denoiser, as vl_diffusion.CallableDenoiser gives them to a function; "
        f"got {type(model).__name__}"
    )


def family(class_name: str) -> str | None:
    """Which of `PIPELINES` this one is; None if it is none.

    The variants that begin with an image have the parts of the one that begins with noise.
    """
    name = re.sub("(Img2Img|Inpaint)(?=Pipeline$)", "", class_name)
    return name if name in PIPELINES else None


def family_of(pipeline: Any) -> str | None:
    """The same for an object, whose class may be derived from one of them."""
    found = (family(kind.__name__) for kind in type(pipeline).__mro__)
    return next((name for name in found if name is not None), None)


def load_denoiser(
    path_or_id: str | Path, *, torch_dtype: torch.dtype | None = None, image_size: int | None = None
) -> Denoiser:
    """Load a built-in model, a local folder or a hub id; safetensors only, nothing is unpickled.

    Args:
        path_or_id: See :meth:`~vl_diffusion.DiffusionClassifier.from_pretrained`.
        torch_dtype: Precision of the network; default: float32.
        image_size: See :func:`as_denoiser`.

    Raises:
        FileNotFoundError: If there is no such folder, and no such model can be had from the hub.
        ValueError: If what is there is not a supported model.
    """
    try:
        return _load(path_or_id, torch_dtype or torch.float32, image_size)
    except (ValueError, OSError, ImportError):
        raise
    # Files that are damaged or do not fit one another make diffusers raise nearly anything.
    except Exception as error:
        raise ValueError(f"model {path_or_id} cannot be loaded ({error}); check its files") from error


def _load(path_or_id: str | Path, dtype: torch.dtype, image_size: int | None) -> Denoiser:
    folder = local_folder(path_or_id)
    if folder is None:
        return _load_from_hub(str(path_or_id), dtype, image_size)
    if (folder / "model_index.json").is_file():
        return _load_pipeline(str(folder), read_json(folder / "model_index.json", dict), dtype, image_size)
    if (folder / "config.json").is_file():
        if image_size is not None:
            raise ValueError(f"image_size={image_size} is given, and the size of the network in {folder} is fixed")
        return _load_network(folder, dtype)
    raise ValueError(f"{folder} holds no diffusion model: neither model_index.json nor config.json is in it")


def _load_from_hub(model_id: str, dtype: torch.dtype, image_size: int | None) -> Denoiser:
    from diffusers import DiffusionPipeline

    missing = f"no model {model_id!r}: it is no local folder, not built in ({', '.join(BUILT_IN)}), and"
    if model_id.count("/") != 1 or model_id.startswith((".", "/", "~")):
        raise FileNotFoundError(f"{missing} not a hub id of the form owner/name")
    try:
        with warnings.catch_warnings():
            # diffusers passes an argument to the hub client that the client no longer takes.
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks")
            index = DiffusionPipeline.load_config(model_id)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(f"{missing} the hub did not give it: {reason}") from error
    return _load_pipeline(model_id, index, dtype, image_size)


def _load_pipeline(source: str, index: Mapping[str, Any], dtype: torch.dtype, image_size: int | None) -> Denoiser:
    import diffusers

    kind = str(index.get("_class_name"))
    if family(kind) is None:
        raise ValueError(f"{source} is a {kind}; supported pipelines are {', '.join(PIPELINES)}")
    if (scheduler := Path(source) / "scheduler" / "scheduler_config.json").is_file():
        # Before diffusers reads it, whose errors do not say what is wrong.
        read_schedule(scheduler)
    pipeline_class = getattr(diffusers, kind)
    with _without_lists_of_weights(), warnings.catch_warnings():
        # The argument is called dtype from diffusers 0.42 on.
        warnings.filterwarnings("ignore", message=".*torch_dtype", category=FutureWarning)
        pipeline = pipeline_class.from_pretrained(
            source, use_safetensors=True, torch_dtype=dtype, **_parts_left_out(pipeline_class, index)
        )
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            without = [weight for weight, value in part.named_parameters() if value.is_meta]
            _check_fit(f"{source}/{name}/config.json", without, [])
    if kind == "DiTPipeline":
        if image_size is not None:
            raise ValueError(f"image_size={image_size} is given, and the size of {source} is fixed")
        # Read from the file: the pipeline loses one of two classes that share a name, as ImageNet's cranes do.
        return _dit_pipeline(pipeline, _names_of_ids(index["id2label"]) if index.get("id2label") else None)
    return as_denoiser(pipeline, image_size=image_size)


def _parts_left_out(pipeline_class: Any, index: Mapping[str, Any]) -> dict[str, Any]:
    """What to load a pipeline without: parts that it was saved without, and those that only sampling uses.

    diffusers would ask for the former by name unless the class calls them optional.
    """
    parameters = inspect.signature(pipeline_class.__init__).parameters
    unused = ("safety_checker", "feature_extractor", "image_encoder")
    absent = [name for name, part in index.items() if part == [None, None]]
    left_out: dict[str, Any] = dict.fromkeys(name for name in (*unused, *absent) if name in parameters)
    return left_out | ({"requires_safety_checker": False} if "requires_safety_checker" in parameters else {})


def _load_network(folder: Path, dtype: torch.dtype) -> Denoiser:
    import diffusers

    kind = read_json(folder / "config.json", dict).get("_class_name")
    if kind not in NETWORKS:
        raise ValueError(f"{folder / 'config.json'} describes a {kind}; supported networks are {', '.join(NETWORKS)}")
    if not (folder / "scheduler_config.json").is_file():
        raise ValueError(f"{folder} has no scheduler_config.json; save the scheduler of its training there")
    schedule = read_schedule(folder / "scheduler_config.json")
    names = _read_names(folder / "classes.json") if (folder / "classes.json").is_file() else None
    with _without_lists_of_weights():
        network, report = getattr(diffusers, kind).from_pretrained(
            folder, use_safetensors=True, torch_dtype=dtype, output_loading_info=True
        )
    _check_fit(str(folder / "config.json"), report["missing_keys"], report["unexpected_keys"])
    return ClassConditionalDenoiser(network, schedule, class_names=names)


@contextmanager
def _without_lists_of_weights() -> Iterator[None]:
    """Hold back diffusers' warnings that name every weight without a place; `_check_fit` says it in a line."""
    logger = logging.getLogger("diffusers.models.modeling_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check_fit(config: str, missing: Sequence[str], unknown: Sequence[str]) -> None:
    """Raise ValueError if a network lacks weights, or weights lack a place in it."""
    wrong = [f"no weights for {name}" for name in sorted(missing)]
    wrong += [f"no place for {name}" for name in sorted(unknown)]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(f"{config} does not fit the weights beside it: {wrong[0]}{more}; take both from one training")


def _read_names(path: Path) -> list[str]:
    names = read_json(path, list)
    if strangers := [name for name in names if not isinstance(name, str)]:
        raise ValueError(f"{path} must hold a JSON list of class names, got the entry {strangers[0]!r}")
    return names


def _dit_pipeline(pipeline: Any, class_names: list[str] | None) -> Denoiser:
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler)
    return ClassConditionalDenoiser(pipeline.transformer, schedule, vae=pipeline.vae, class_names=class_names)


def _names_of_ids(id2label: Mapping[str, str]) -> list[str]:
    """First name of each class in label order; names that stand twice get their number behind them."""
    names = [id2label[key].split(",")[0].strip() for key in sorted(id2label, key=int)]
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _names_of_labels(labels: Mapping[str, int]) -> list[str] | None:
    """First name of each class in label order; a class whose name another one took is called by its number."""
    if not labels:
        return None
    first = {index: name for name, index in reversed(list(labels.items()))}
    return [first.get(index, f"class {index}") for index in range(max(first) + 1)]


def _move(denoiser: Denoiser, device: str | torch.device) -> None:
    """Move a denoiser that can move, or its modules one by one."""
    if hasattr(denoiser, "to"):
        denoiser.to(device)
        return
    for part in vars(denoiser).values():
        if isinstance(part, torch.nn.Module):
            part.to(device)
