"""Dual encoders in folders.

``vision/`` and ``text/`` are written by timm and transformers and can be loaded by them alone; the folder itself holds
``config.json``, the projections with scale and bias in ``model.safetensors``, and the tokenizer.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import timm
import torch
import transformers
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save
from timm.models import save_for_hf
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel
from vl_core.data import Normalization
from vl_core.files import limit_network, read_json
from vl_core.progress import quiet_libraries
from vl_core.runs import atomic_write

from vl_vlm.models.dual_encoder import DualEncoder
from vl_vlm.models.folders import model_folder, read_configuration
from vl_vlm.models.towers import JointModel, Towers


def save_dual_encoder(model: DualEncoder, folder: str | os.PathLike[str], dtype: torch.dtype | None = None) -> None:
    """Write a model as `DualEncoder.save_pretrained` says."""
    target = Path(folder)
    networks = _networks(model)
    kinds = {name: _library(network, name) for name, network in networks.items()}
    target.mkdir(parents=True, exist_ok=True)
    # A folder is whole once its configuration is there.
    (target / "config.json").unlink(missing_ok=True)
    for name, network in networks.items():
        network = network if dtype is None else copy.deepcopy(network).to(dtype)
        if kinds[name] == "timm":
            mean_std = {"mean": model.normalization.mean, "std": model.normalization.std, "crop_pct": 1.0}
            save_for_hf(network, str(target / name), data_config=mean_std, safe_serialization=True)
        else:
            with quiet_libraries("transformers"):
                network.save_pretrained(target / name)
    own = {name: value.contiguous().to(dtype or value.dtype) for name, value in _own_tensors(model).items()}
    with atomic_write(target / "model.safetensors", "wb") as file:
        file.write(save(own))
    model.tokenizer.save_pretrained(target)
    config = {
        "loss": model.loss,
        "dim": None if isinstance(model.towers, JointModel) else model.towers.dim,
        "image_size": model.image_size,
        "mean": model.normalization.mean,
        "std": model.normalization.std,
        "context_length": model.context_length,
        "image_locked": model.image_locked,
        "libraries": kinds,
    }
    with atomic_write(target / "config.json") as file:
        file.write(json.dumps(config, indent=2) + "\n")


def load_dual_encoder(source: str | os.PathLike[str]) -> DualEncoder:
    """Load a model as `DualEncoder.from_pretrained` says."""
    folder = model_folder(source)
    if folder is None:
        folder = Path(snapshot_download(str(source), allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    config: Any = read_configuration(folder)
    try:
        with quiet_libraries("transformers"), limit_network(folder):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            networks = {name: _load(folder / name, kind) for name, kind in config["libraries"].items()}
            towers = (
                JointModel(networks["joint"])
                if "joint" in networks
                else Towers(networks["vision"], networks["text"], dim=config["dim"])
            )
            model = DualEncoder(
                towers,
                tokenizer,
                loss=config["loss"],
                image_size=config["image_size"],
                normalization=Normalization(config["mean"], config["std"]),
                context_length=config["context_length"],
            )
        tensors = load_file(folder / "model.safetensors")
        if (found := tensors.keys()) != (expected := _own_tensors(model).keys()):
            raise ValueError(f"model.safetensors has {sorted(found)} instead of {sorted(expected)}")
        model.load_state_dict(tensors, strict=False)
    # Damaged or mismatched files make the libraries raise all kinds of exceptions.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder} holds no dual encoder that can be loaded ({reason}); save it again") from error
    if config.get("image_locked"):
        model.lock_image()
    return model.float().eval()


def _networks(model: DualEncoder) -> dict[str, Any]:
    if isinstance(model.towers, JointModel):
        return {"joint": model.towers.model}
    return {"vision": model.towers.vision.network, "text": model.towers.text.network}


def _own_tensors(model: DualEncoder) -> dict[str, torch.Tensor]:
    """Tensors that are in no network: projections, scale and bias."""
    inside = ("towers.model.", "towers.vision.", "towers.text.")
    return {name: value.detach().cpu() for name, value in model.state_dict().items() if not name.startswith(inside)}


def _library(network: nn.Module, name: str) -> str:
    if hasattr(network, "merge_and_unload"):
        raise ValueError(
            f"{name} must be a network without adapters to be saved; put what its merge_and_unload() returns in its "
            "place first, or save the adapters with peft"
        )
    if isinstance(network, PreTrainedModel):
        return "transformers"
    if hasattr(network, "pretrained_cfg"):
        return "timm"
    raise ValueError(
        f"{name} must be a network of timm or transformers to be saved, got {type(network).__name__}; save its "
        "state_dict yourself, and one of open_clip with open_clip after to_open_clip"
    )


def _load(folder: Path, library: str) -> nn.Module:
    if library == "timm":
        network: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
        return network
    # AutoModel does not know every tower, such as SigLIP's text model; each names its class.
    names = read_json(folder / "config.json", dict).get("architectures") or [""]
    kind = getattr(transformers, str(names[0]), None)
    if not (isinstance(kind, type) and issubclass(kind, PreTrainedModel)):
        raise ValueError(
            f"{folder / 'config.json'} must name a model of transformers in architectures, got {names[0]!r}"
        )
    network, wrong = _from_pretrained(kind, folder)
    if wrong and all(name.startswith("pooler.") for name in wrong):
        network, wrong = _from_pretrained(kind, folder, add_pooling_layer=False)
    if wrong:
        raise ValueError(f"weights in {folder} do not fit its config.json, such as {wrong[0]}")
    return network


def _from_pretrained(kind: Any, folder: Path, **options: Any) -> tuple[nn.Module, list[str]]:
    """The network, and the names of weights that are missing or not expected."""
    network, report = kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
    )
    return network, sorted([*report["missing_keys"], *report["unexpected_keys"]])
