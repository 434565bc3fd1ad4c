"""Residual networks of any width, depth and block for small images, from the parts of timm.

The ablations of width, depth and bottleneck need networks between the published ones, and images of 28 or 32 pixels
need a stem that does not throw nine tenths of them away: a 3 x 3 convolution of stride 1 without pooling (He et al.,
*Deep Residual Learning for Image Recognition*, 2016, section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

Block: TypeAlias = Literal["basic", "bottleneck"]

DEPTHS = {
    "10": (1, 1, 1, 1),
    "18": (2, 2, 2, 2),
    "34": (3, 4, 6, 3),
    "50": (3, 4, 6, 3),
    "50-basic": (5, 6, 9, 4),
    "101": (3, 4, 23, 3),
}
"""Blocks of each stage by the name of the depth. ``"50-basic"`` has, of basic blocks, about the parameters of a
ResNet-50."""
_BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


def resnet_network(
    *,
    width: int,
    depth: str | Sequence[int],
    block: Block,
    channels: int,
    small_images: bool,
    stem_stride: int = 1,
    **options: Any,
) -> nn.Module:
    """A ``timm.models.resnet.ResNet`` without classifier; `small_resnet` explains the arguments.

    Raises:
        ValueError: If width, depth, block, channels or the stride is out of range.
    """
    if width < 2 or width % 2:
        raise ValueError(f"width must be even and at least 2, got {width}")
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    if stem_stride not in (1, 2):
        raise ValueError(f"stem_stride must be 1 or 2, got {stem_stride}")
    if block not in _BLOCKS:
        raise ValueError(f"block must be 'basic' or 'bottleneck', got {block!r}")
    if isinstance(depth, str) and depth not in DEPTHS:
        raise ValueError(f"depth must be one of {', '.join(DEPTHS)} or four numbers of blocks, got {depth!r}")
    blocks = DEPTHS[depth] if isinstance(depth, str) else tuple(depth)
    if len(blocks) != 4 or min(blocks) < 1:
        raise ValueError(f"depth must give four stages at least one block each, got {blocks}")
    # A deep stem of half the width is the only one of timm whose stages begin with `width` channels; it is replaced.
    network = ResNet(
        _BLOCKS[block],
        blocks,
        num_classes=0,
        in_chans=channels,
        stem_type="deep",
        stem_width=width // 2,
        channels=tuple(width * 2**stage for stage in range(4)),
        # Residuals begin at zero, so features begin as what the shortcuts see: of a 7 x 7 map, with strides alone, one
        # pixel of a corner. Shortcuts that average (He et al., 2019) see all of it.
        avg_down=small_images,
        **options,
    )
    if small_images:
        network.conv1 = nn.Conv2d(channels, width, 3, stride=stem_stride, padding=1, bias=False)
        network.maxpool = nn.Identity()
    else:
        network.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    network.init_weights(zero_init_last=True)
    result: nn.Module = network
    return result
