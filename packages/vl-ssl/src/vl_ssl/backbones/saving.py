"""Folders of backbones: ``config.json`` and ``model.safetensors``; nothing is unpickled."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn
from vl_core.data import Normalization
from vl_core.files import check_sizes, limit_network, read_json, read_tensors
from vl_core.runs import atomic_write

from vl_ssl.backbones.backbone import Backbone
from vl_ssl.backbones.building import build_backbone

_LARGEST_IMAGE = 4096  # a damaged configuration would have the check of the features fill the memory


def save_backbone(module: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write a backbone as a folder that `load_backbone` reads.

    ``model.safetensors`` is the state dict of the plain timm network, as `export_backbone` gives it.

    Args:
        module: What `build_backbone` or `small_resnet` made.
        folder: Where to write; created if it is missing.

    Raises:
        ValueError: If it was not built by this package, or an argument of the architecture is none that JSON can hold.
    """
    if not isinstance(module, Backbone) or module.config is None:
        raise ValueError(
            f"module must be a backbone of build_backbone or small_resnet, got {type(module).__name__}; "
            "write a network of timm with timm.models.save_for_hf"
        )
    config = {**asdict(module.config), **asdict(module.normalization), "num_features": module.num_features}
    try:
        text = json.dumps(config, indent=2) + "\n"
    except TypeError as error:
        raise ValueError(
            f"options of the architecture must be numbers, texts and lists to be saved, got {module.config.options}"
        ) from error
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    # A folder is whole once its configuration is there.
    (target / "config.json").unlink(missing_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.network.state_dict().items()}
    with atomic_write(target / "model.safetensors", "wb") as file:
        file.write(save(tensors))
    with atomic_write(target / "config.json") as file:
        file.write(text)


def load_backbone(folder: str | os.PathLike[str]) -> Backbone:
    """Read a backbone from a folder of `save_backbone`, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a file is missing or damaged, or the weights are not those of the network described.
    """
    source = Path(folder)
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; pass a folder of save_backbone")
    missing = next((name for name in ("config.json", "model.safetensors") if not (source / name).is_file()), None)
    if missing is not None:
        raise ValueError(f"{source} holds no backbone: {missing} is missing; write one with save_backbone")
    config: dict[str, Any] = read_json(source / "config.json", dict)
    check_sizes(config, source / "config.json")
    tensors = read_tensors(source / "model.safetensors")
    try:
        name, channels, size = config["name"], config["channels"], config["image_size"]
        if size is not None and size > _LARGEST_IMAGE:
            raise ValueError(f"image_size is {size}, expected at most {_LARGEST_IMAGE}")
        normalization = Normalization(config["mean"], config["std"])
        with limit_network(source), warnings.catch_warnings():
            # A configuration with a size of zero, which the weights do not fit.
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            backbone = build_backbone(
                name, channels=channels, image_size=size, normalization=normalization, **config["options"]
            )
        backbone.network.load_state_dict(tensors)
        if backbone.num_features != config["num_features"]:
            raise ValueError(f"num_features is {config['num_features']}, the network has {backbone.num_features}")
    # Damaged or mismatched files make timm and PyTorch raise all kinds of exceptions.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"{source} holds no backbone that can be loaded ({reason}); save it again") from error
    return backbone.eval()
