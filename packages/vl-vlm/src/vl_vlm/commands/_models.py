"""Models of the commands: dual encoders of ours, and CLIP and SigLIP folders of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from vl_core.runs import files_sha256

from vl_vlm.evaluation.scorers.scorer import Scorer, as_scorer
from vl_vlm.evaluation.scorers.transformers_scorer import from_transformers
from vl_vlm.models.dual_encoder import DualEncoder
from vl_vlm.models.folders import model_folder, transformers_kind


class NamedModel(NamedTuple):
    """A model that can be evaluated."""

    scorer: Scorer
    """Scores of images and texts."""
    name: str
    """Its source and the beginning of a digest of its weights, by which stored scores know it again."""
    image_size: int
    """Height and width to which it resizes images."""


def open_model(source: str, device: str | torch.device) -> NamedModel:
    """Load a model by name or folder.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it cannot be loaded.
    """
    if (kind := transformers_kind(source)) is not None:
        return _of_transformers(Path(source).expanduser(), kind, device)
    encoder = DualEncoder.from_pretrained(source).to(device)
    return NamedModel(as_scorer(encoder), _name(source, model_folder(source)), encoder.image_size)


def _of_transformers(folder: Path, kind: str, device: str | torch.device) -> NamedModel:
    from transformers import AutoModel, AutoProcessor
    from vl_core.progress import quiet_libraries

    try:
        with quiet_libraries("transformers"):
            model: Any = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            load: Any = AutoProcessor.from_pretrained
            processor: Any = load(folder, local_files_only=True)
            scorer = from_transformers(model.to(device).eval(), processor)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder} holds no CLIP or SigLIP that can be loaded ({kind}: {reason})") from error
    return NamedModel(scorer, _name(str(folder), folder), int(model.config.vision_config.image_size))


def _name(source: str, folder: Path | None) -> str:
    if folder is None:
        return source
    weights = [str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")]
    return f"{source} {files_sha256(folder, weights)[:8]}"
