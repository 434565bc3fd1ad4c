"""Load denoisers from objects, folders and hub ids."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, hf_hub_download, list_repo_files
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from vl_core.files import check_sizes, limit_network
from vl_core.progress import quiet_libraries

from vl_diffusion.checks import TimestepEmbedding, checked_dtype, checked_image_size, checked_timestep_embedding
from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.models.families.class_conditional import ClassConditionalDenoiser
from vl_diffusion.models.families.flux import FluxDenoiser
from vl_diffusion.models.families.pixart import PixArtDenoiser
from vl_diffusion.models.families.stable_diffusion import (
    StableDiffusion3Denoiser,
    StableDiffusionDenoiser,
    StableDiffusionXLDenoiser,
)
from vl_diffusion.models.families.timestep_embedding import choose
from vl_diffusion.models.folders import local_folder, no_model, read_json, read_schedule
from vl_diffusion.models.inspection import (
    NETWORKS,
    PIPELINES,
    UNUSED_PARTS,
    check_model_files,
    check_network,
    family,
    supported,
)
from vl_diffusion.models.schedule import NoiseSchedule
from vl_diffusion.models.single_file import find_config, load_single_file
from vl_diffusion.models.weights import (
    check_parts,
    check_weights,
    load_part,
    part_names,
    refuse_variant,
    variants_among,
)

PROMPTED: dict[str, Callable[..., Denoiser]] = {
    "StableDiffusionPipeline": StableDiffusionDenoiser,
    "StableDiffusionXLPipeline": StableDiffusionXLDenoiser,
    "StableDiffusion3Pipeline": StableDiffusion3Denoiser,
    "FluxPipeline": FluxDenoiser,
    "PixArtAlphaPipeline": PixArtDenoiser,
    "PixArtSigmaPipeline": PixArtDenoiser,
}
"""Text-conditional pipelines."""

_DENOISER_MEMBERS = ("schedule", "encode_images", "encode_classes", "predict", "image_size", "image_channels")


def as_denoiser(
    model: Any,
    *,
    scheduler: Any | None = None,
    device: str | torch.device | None = None,
    image_size: int | None = None,
    timestep_embedding: TimestepEmbedding = "auto",
) -> Denoiser:
    """Wrap a diffusers pipeline or network; an object that implements `Denoiser` is returned unchanged.

    Args:
        model: See :class:`~vl_diffusion.DiffusionClassifier`.
        scheduler: For a bare network: its diffusers scheduler.
        device: Device to compute on; default: the model's.
        image_size: For a text-conditional pipeline: height and width of the images, in pixels; default: the training
            resolution.
        timestep_embedding: For a DiT, see :class:`~vl_diffusion.DiffusionClassifier`.

    Raises:
        ValueError: If the object is not supported, if a bare network comes without a scheduler or another model with
            one, or if the image size of the model is fixed.
    """
    image_size = checked_image_size(image_size)
    if isinstance(model, str | Path):
        raise ValueError(f"model must be an object, got the name {str(model)!r}; load it with from_pretrained")
    is_denoiser = all(hasattr(model, name) for name in _DENOISER_MEMBERS)
    if scheduler is not None and (is_denoiser or family_of(model) is not None):
        raise ValueError(
            f"scheduler must be None for a {type(model).__name__}, which has its own; change that one instead"
        )
    if is_denoiser:
        denoiser: Denoiser = model
        if image_size not in (None, denoiser.image_size):
            raise ValueError(f"image_size must be the model's own {denoiser.image_size} or None, got {image_size}")
        if timestep_embedding not in ("auto", getattr(denoiser, "timestep_embedding", None)):
            raise ValueError(
                f"timestep_embedding must be 'auto' for a {type(model).__name__}, which is built, got "
                f"{timestep_embedding!r}; pass it where the model is loaded"
            )
        if device is not None:
            _move(denoiser, device)
        return denoiser
    if device is not None and hasattr(model, "to"):
        model = model.to(device)
    kind = family_of(model)
    if kind in PROMPTED:
        choose(getattr(model, "transformer", None) or getattr(model, "unet", None), timestep_embedding)
        return PROMPTED[kind](model, image_size=image_size)
    if image_size is not None:
        raise ValueError(f"image_size must be None for a {type(model).__name__}, whose size is fixed, got {image_size}")
    if kind is not None:
        return _dit_pipeline(model, _names_of_labels(model.labels), timestep_embedding)
    if type(model).__name__ in NETWORKS:
        if scheduler is None:
            raise ValueError(f"scheduler is missing for a bare {type(model).__name__}; pass scheduler=")
        schedule = NoiseSchedule.from_scheduler(scheduler)
        return ClassConditionalDenoiser(model, schedule, timestep_embedding=timestep_embedding)
    raise ValueError(
        f"model must be one of {', '.join(PIPELINES)}, a {' or '.join(NETWORKS)} with its scheduler, or "
        f"implement vl_diffusion.Denoiser (vl_diffusion.CallableDenoiser wraps a function); "
        f"got {type(model).__name__}"
    )


def family_of(pipeline: Any) -> str | None:
    """Name in `PIPELINES` of a pipeline object, including subclasses; None if it is not supported."""
    found = (family(kind.__name__) for kind in type(pipeline).__mro__)
    return next((name for name in found if name is not None), None)


def load_denoiser(
    path_or_id: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    torch_dtype: str | torch.dtype | None = None,
    variant: str | None = None,
    config: str | Path | None = None,
    image_size: int | None = None,
    timestep_embedding: TimestepEmbedding = "auto",
) -> Denoiser:
    """Load a built-in model, a local folder, a single file or a hub id; only safetensors, nothing is unpickled.

    Args:
        path_or_id: See :meth:`~vl_diffusion.DiffusionClassifier.from_pretrained`.
        dtype: Precision of the network, or its name; default: float32.
        torch_dtype: The older name of `dtype`.
        variant: See :meth:`~vl_diffusion.DiffusionClassifier.from_pretrained`.
        config: See :meth:`~vl_diffusion.DiffusionClassifier.from_pretrained`.
        image_size: See :func:`as_denoiser`.
        timestep_embedding: See :func:`as_denoiser`.

    Raises:
        FileNotFoundError: If there is neither such a folder nor such a model on the hub.
        ValueError: If an argument is out of range, the model is not supported, or its files are damaged or missing.
    """
    wanted = _Wanted(
        checked_dtype(dtype, torch_dtype),
        variant,
        config,
        checked_image_size(image_size),
        checked_timestep_embedding(timestep_embedding),
    )
    folder = local_folder(path_or_id)
    try:
        check_model_files(path_or_id, variant=variant, config=config, image_size=wanted.image_size)
        if folder is not None and folder.is_file():
            return _load_file(folder, wanted)
        if folder is None:
            return _load_from_hub(str(path_or_id), wanted)
        return _load_folder(folder, wanted)
    except (OSError, ImportError, Warning):
        raise
    except ValueError as error:
        # Ours name the model, its file or an argument; those of the libraries, raised while it is read, may not.
        if folder is None or str(folder) in str(error) or str(error).startswith(_ARGUMENTS):
            raise
        raise ValueError(f"model {path_or_id} cannot be loaded ({error}); check its files") from error
    # diffusers raises many other exceptions for damaged or inconsistent files.
    except Exception as error:
        raise ValueError(f"model {path_or_id} cannot be loaded ({error}); check its files") from error


_ARGUMENTS = ("config must", "variant must", "image_size must", "dtype must", "timestep_embedding must")


@dataclass(frozen=True)
class _Wanted:
    """Arguments of `load_denoiser`, checked."""

    dtype: torch.dtype
    variant: str | None
    config: str | Path | None
    image_size: int | None
    timestep_embedding: TimestepEmbedding


def _load_file(path: Path, wanted: _Wanted) -> Denoiser:
    folder = find_config(path, wanted.config)
    import diffusers

    index = read_json(folder / "model_index.json", dict)
    kind = family(supported(index, folder))
    assert kind is not None
    left_out = _parts_left_out(getattr(diffusers, kind), index)
    with quiet_libraries("diffusers", "transformers"):
        pipeline = load_single_file(path, folder, index, kind, wanted.dtype, wanted.variant, left_out)
    _check_whole(pipeline, folder, path)
    return as_denoiser(pipeline, image_size=wanted.image_size, timestep_embedding=wanted.timestep_embedding)


def _load_folder(folder: Path, wanted: _Wanted) -> Denoiser:
    if (folder / "model_index.json").is_file():
        return _load_pipeline(folder, read_json(folder / "model_index.json", dict), wanted)
    return _load_network(folder, wanted)


def _load_from_hub(model_id: str, wanted: _Wanted) -> Denoiser:
    import diffusers

    try:
        # diffusers says of a machine without network that the file is not there.
        index = read_json(Path(hf_hub_download(model_id, "model_index.json")), dict)
        pipeline_class = getattr(diffusers, supported(index, model_id))
        with warnings.catch_warnings():
            # diffusers passes an argument that the hub client no longer supports.
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks")
            folder = pipeline_class.download(
                model_id, use_safetensors=True, variant=wanted.variant, **_parts_left_out(pipeline_class, index)
            )
    except (OSError, HFValidationError) as error:
        if (found := _hub_variants(model_id, error)) and wanted.variant not in found:
            raise ValueError(refuse_variant(model_id, wanted.variant, found)) from error
        raise FileNotFoundError(f"{no_model(model_id)} {_unavailable(model_id, error)}") from error
    return _load_pipeline(Path(folder), index, wanted)


def _hub_variants(model_id: str, error: Exception) -> set[str | None]:
    """Variants of a model on the hub whose weights diffusers did not find; empty if it failed for another reason."""
    if isinstance(error, HFValidationError | LocalEntryNotFoundError):
        return set()
    try:
        return variants_among(list_repo_files(model_id))
    except OSError:
        return set()


def _unavailable(model_id: str, error: Exception) -> str:
    """The reason why a model is not to be had from the hub, and what to do."""
    if not isinstance(error, LocalEntryNotFoundError):
        return f"not available from the hub: {str(error).strip().splitlines()[0]}"
    remedy = f"hf download {model_id} --local-dir FOLDER where there is a network, and pass that folder"
    if constants.HF_HUB_OFFLINE:
        return f"not in the hub's cache, and HF_HUB_OFFLINE keeps it offline; unset that, or run {remedy}"
    return f"not in the hub's cache, and the hub cannot be reached; check the network, or run {remedy}"


def _load_pipeline(folder: Path, index: Mapping[str, Any], wanted: _Wanted) -> Denoiser:
    import diffusers

    kind = supported(index, folder)
    if kind == "DiTPipeline" and wanted.image_size is not None:
        raise ValueError(f"image_size must be None for {folder}, whose size is fixed, got {wanted.image_size}")
    pipeline_class = getattr(diffusers, kind)
    if (scheduler := folder / "scheduler" / "scheduler_config.json").is_file():
        # Check it first: the errors of diffusers are not specific.
        read_schedule(scheduler)
    for part in folder.glob("*/config.json"):
        check_sizes(read_json(part, dict), part)
    left_out = _parts_left_out(pipeline_class, index)
    variants = check_parts(folder, part_names(index, left_out), wanted.variant)
    _say_variant(folder, wanted.variant, variants.values())
    with quiet_libraries("diffusers", "transformers"), warnings.catch_warnings(), limit_network(folder):
        # The argument is called dtype since diffusers 0.42.
        warnings.filterwarnings("ignore", message=".*torch_dtype", category=FutureWarning)
        # Parts with a variant are loaded one by one: diffusers chooses one name for all of them.
        parts = {
            name: load_part(folder, name, index[name], wanted.dtype, chosen)
            for name, chosen in variants.items()
            if chosen is not None
        }
        pipeline = pipeline_class.from_pretrained(
            str(folder), use_safetensors=True, torch_dtype=wanted.dtype, **left_out, **parts
        )
    _check_whole(pipeline, folder, None)
    if kind == "DiTPipeline":
        # Read from the file: the pipeline drops one of two classes with the same name, such as ImageNet's cranes.
        names = _names_of_ids(index["id2label"]) if index.get("id2label") else None
        return _dit_pipeline(pipeline, names, wanted.timestep_embedding)
    return as_denoiser(pipeline, image_size=wanted.image_size, timestep_embedding=wanted.timestep_embedding)


def _say_variant(folder: Path, asked: str | None, chosen: Iterable[str | None]) -> None:
    """Warn where a variant was chosen because there is no other."""
    if asked is None and (found := sorted({name for name in chosen if name is not None})):
        # One variant can be asked for, and parts may have several.
        asking = f"; pass variant={found[0]!r} to ask for it" if len(found) == 1 else ""
        warnings.warn(
            f"weights that {folder} has only as variant {' and '.join(found)} are loaded{asking}", stacklevel=2
        )


def _parts_left_out(pipeline_class: Any, index: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that skip parts of a pipeline: those it was saved without, and those that only sampling uses.

    diffusers requires the former to be passed unless the class declares them optional.
    """
    parameters = inspect.signature(pipeline_class.__init__).parameters
    absent = [name for name, part in index.items() if part == [None, None]]
    left_out: dict[str, Any] = dict.fromkeys(name for name in (*UNUSED_PARTS, *absent) if name in parameters)
    return left_out | ({"requires_safety_checker": False} if "requires_safety_checker" in parameters else {})


def _load_network(folder: Path, wanted: _Wanted) -> Denoiser:
    import diffusers

    content = check_network(folder)
    check_sizes(content, folder / "config.json")
    schedule = read_schedule(folder / "scheduler_config.json")
    names = _read_names(folder / "classes.json") if (folder / "classes.json").is_file() else None
    chosen = check_weights(folder, wanted.variant, optional=False)
    _say_variant(folder, wanted.variant, [chosen])
    with quiet_libraries("diffusers", "transformers"), limit_network(folder):
        network, report = getattr(diffusers, content["_class_name"]).from_pretrained(
            folder, use_safetensors=True, torch_dtype=wanted.dtype, variant=chosen, output_loading_info=True
        )
    _check_fit(str(folder / "config.json"), report["missing_keys"], report["unexpected_keys"])
    return ClassConditionalDenoiser(network, schedule, class_names=names, timestep_embedding=wanted.timestep_embedding)


def _check_whole(pipeline: Any, folder: Path, file: Path | None) -> None:
    """Raise ValueError if a part of a pipeline lacks weights, which came from its folder or a single file."""
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            missing = [weight for weight, value in part.named_parameters() if value.is_meta]
            _check_fit(f"{folder}/{name}/config.json", missing, [], "the same folder" if file is None else str(file))


def _check_fit(config: str, missing: Sequence[str], unknown: Sequence[str], where: str = "the same folder") -> None:
    """Raise ValueError if weights are missing or unexpected."""
    wrong = [f"no weights for {name}" for name in sorted(missing)]
    wrong += [f"unexpected weights {name}" for name in sorted(unknown)]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(
            f"{config} does not match the weights in {where}: {wrong[0]}{more}; use files of one training run"
        )


def _read_names(path: Path) -> list[str]:
    names = read_json(path, list)
    if invalid := [name for name in names if not isinstance(name, str)]:
        raise ValueError(f"{path} must be a JSON list of class names, got the entry {invalid[0]!r}")
    return names


def _dit_pipeline(pipeline: Any, class_names: list[str] | None, timestep_embedding: TimestepEmbedding) -> Denoiser:
    schedule = NoiseSchedule.from_scheduler(pipeline.scheduler)
    return ClassConditionalDenoiser(
        pipeline.transformer,
        schedule,
        vae=pipeline.vae,
        class_names=class_names,
        timestep_embedding=timestep_embedding,
    )


def _names_of_ids(id2label: Mapping[str, str]) -> list[str]:
    """First name of each class in label order; repeated names get their index appended."""
    names = [id2label[key].split(",")[0].strip() for key in sorted(id2label, key=int)]
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _names_of_labels(labels: Mapping[str, int]) -> list[str] | None:
    """First name of each class in label order; a class without a name of its own is called by its index."""
    if not labels:
        return None
    first = {index: name for name, index in reversed(list(labels.items()))}
    return [first.get(index, f"class {index}") for index in range(max(first) + 1)]


def _move(denoiser: Denoiser, device: str | torch.device) -> None:
    """Move a denoiser by its `to`, or else its modules one by one."""
    if hasattr(denoiser, "to"):
        denoiser.to(device)
        return
    for part in vars(denoiser).values():
        if isinstance(part, torch.nn.Module):
            part.to(device)
