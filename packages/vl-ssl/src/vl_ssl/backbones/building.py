"""Build backbones by name: any architecture of timm, or a small residual network."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import timm
from torch import nn
from vl_core.data import Normalization

from vl_ssl.backbones.backbone import Backbone, BackboneConfig
from vl_ssl.backbones.checking import check_backbone
from vl_ssl.backbones.small import Block, resnet_network

SMALL_RESNET = "small_resnet"
"""Name of `small_resnet` in `build_backbone`."""


def build_backbone(
    name: str,
    *,
    channels: int = 3,
    image_size: int | None = None,
    pretrained: bool = False,
    normalization: Normalization | None = None,
    **timm_kwargs: Any,
) -> Backbone:
    """A backbone for images in [0, 1] of any number of channels, with pooled features.

    Args:
        name: An architecture of timm (``timm.list_models()``), or ``"small_resnet"``, see `small_resnet`.
        channels: Channels of the images. Pretrained weights of the first layer are adapted by timm.
        image_size: Height and width in pixels, for architectures that must know, such as a ViT. By default the
            architecture's own; convolutional networks take any.
        pretrained: Whether timm loads the published weights, by downloading them if need be.
        normalization: Mean and deviation of each channel. By default those of the architecture in timm, ImageNet's
            where it has none; averaged over the colors for other than three channels.
        **timm_kwargs: Further arguments of the architecture, such as ``patch_size``, ``global_pool`` or
            ``drop_path_rate``.

    Returns:
        The backbone in training mode; ``backbone.num_features`` is its width ``d``. Initial weights come from PyTorch's
        generator.

    Raises:
        ValueError: If there is no such architecture, it does not take the arguments, its patches do not divide the
            images, or its features are not pooled.

    Example:
        >>> build_backbone("vit_tiny_patch16_224", channels=13, image_size=28, patch_size=7, depth=2).num_features
        192
    """
    if channels < 1 or (image_size is not None and image_size < 1):
        raise ValueError(f"channels and image_size must be at least 1, got {channels} and {image_size}")
    config = BackboneConfig(name, channels, image_size, dict(timm_kwargs))
    if name == SMALL_RESNET:
        if pretrained:
            raise ValueError("pretrained must be False for small_resnet, which has no published weights; got True")
        network, size = _small(config), image_size or 32
    else:
        network, size = _of_timm(config, pretrained)
        if timm.get_pretrained_cfg(name).fixed_input_size:
            config = replace(config, image_size=size)
    width = check_backbone(network, channels, size)
    given = Normalization.of(network) if normalization is None else normalization
    if len(given.mean) != channels:
        raise ValueError(f"normalization must have one mean for each of {channels} channels, got {len(given.mean)}")
    return Backbone(network, width, given, config)


def small_resnet(
    width: int = 8,
    depth: str | Sequence[int] = "18",
    *,
    block: Block = "basic",
    channels: int = 1,
    small_images: bool = True,
    stem_stride: int = 1,
    normalization: Normalization | None = None,
) -> Backbone:
    """A residual network of chosen width, depth and block: He et al., 2016, built from timm's ``ResNet``.

    The last normalization of each block starts at zero, as the official training has it. With ``block="basic"`` and
    width 64, depth ``"18"`` is a ResNet-18; the features are ``8 * width`` wide, of bottlenecks ``32 * width``.

    Args:
        width: Channels of the first stage, even; each of the four stages doubles them.
        depth: ``"10"``, ``"18"``, ``"34"``, ``"50"``, ``"50-basic"`` or ``"101"``, which stand for numbers of
            blocks, whatever the block is; or these numbers, such as ``(5, 6, 9, 4)``.
        block: ``"basic"``, of two 3 x 3 convolutions, or ``"bottleneck"``.
        channels: Channels of the images.
        small_images: Whether the stem is a 3 x 3 convolution without pooling and shortcuts average before they
            stride, for images of up to about 64 pixels; a 7 x 7 convolution and pooling, both of stride 2, and plain
            shortcuts otherwise.
        stem_stride: Stride of the stem for small images; 2 costs a quarter, for studies on a CPU.
        normalization: As in `build_backbone`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> small_resnet(8)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 64])
    """
    depth = depth if isinstance(depth, str) else list(depth)
    return build_backbone(
        SMALL_RESNET,
        channels=channels,
        normalization=normalization,
        width=width,
        depth=depth,
        block=block,
        small_images=small_images,
        stem_stride=stem_stride,
    )


def _small(config: BackboneConfig) -> nn.Module:
    options: Mapping[str, Any] = {
        "width": 8, "depth": "18", "block": "basic", "small_images": True, "stem_stride": 1, **config.options
    }  # fmt: skip
    try:
        return resnet_network(channels=config.channels, **options)
    except TypeError as error:
        raise ValueError(f"small_resnet does not take these arguments ({error}); see small_resnet") from error


def _of_timm(config: BackboneConfig, pretrained: bool) -> tuple[nn.Module, int]:
    """A network of timm, and the size of images that it takes."""
    name = config.name
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=1)
        advice = f"did you mean {close[0]!r}?" if close else "timm.list_models() lists them"
        raise ValueError(f"name must be an architecture of timm or 'small_resnet', got {name!r}; {advice}")
    known = timm.get_pretrained_cfg(name)
    options = dict(config.options)
    if config.image_size is not None and known.fixed_input_size:
        options["img_size"] = config.image_size
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=0, in_chans=config.channels, **options
        )
    except (TypeError, AssertionError) as error:
        raise ValueError(f"{name} does not take the arguments {options} ({error}); see its function in timm") from error
    size = config.image_size or known.input_size[-1]
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", (1, 1))
    for side in patch if isinstance(patch, tuple) else (patch,):
        if known.fixed_input_size and size % side:
            raise ValueError(
                f"image_size must be a multiple of the patch size {side} of {name}, got {size}; "
                f"pass patch_size=, such as {_divisor(size)}"
            )
    return network, size


def _divisor(size: int) -> int:
    """A patch size that divides an image into at least four patches a side, 1 for a prime."""
    return max(part for part in range(1, max(2, size // 4 + 1)) if size % part == 0)
