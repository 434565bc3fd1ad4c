"""Image sizes and patch grids of models, and how two models with different image sizes see the same patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from vl_attention.models.inference import vision_config
from vl_attention.models.layout import inner_vit

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class ImageGrid:
    """The size of images that a model was built for, and the patches that it divides them into."""

    size: Size
    """Height and width of the images, in pixels."""
    patches: Size
    """Rows and columns of patches."""
    fixed: bool
    """True if the model takes no other size."""

    @property
    def stride(self) -> Size:
        """Height and width of a patch, in pixels."""
        return self.size[0] // self.patches[0], self.size[1] // self.patches[1]

    @classmethod
    def of(cls, model: Any) -> ImageGrid | None:
        """Read the grid of a timm or transformers model; None if the model does not state it."""
        model = inner_vit(model)
        embed = getattr(model, "patch_embed", None)
        size, patches = _pair(getattr(embed, "img_size", None)), _pair(getattr(embed, "grid_size", None))
        if size and patches:
            return cls(size, patches, fixed=bool(getattr(embed, "strict_img_size", False)))
        config = vision_config(model)
        size, patch = (_pair(getattr(config, name, None)) for name in ("image_size", "patch_size"))
        if size and patch:
            return cls(size, (size[0] // patch[0], size[1] // patch[1]), fixed=False)
        return None

    def __str__(self) -> str:
        return f"images of {_text(self.size)} pixels into {_text(self.patches)} patches of {_text(self.stride)}"


def image_size(model: Any) -> Size | None:
    """Height and width of the images that a model was built for; None if it states none."""
    grid = ImageGrid.of(model)
    if grid is not None:
        return grid.size
    config = getattr(inner_vit(model), "pretrained_cfg", None)
    size = config.get("input_size") if isinstance(config, dict) else None
    return (int(size[-2]), int(size[-1])) if size else None


def own_sizes(student: nn.Module, teacher: nn.Module) -> tuple[Size | None, Size | None]:
    """Image sizes of student and teacher if each needs its own for both to see the same patches; otherwise two Nones.

    A teacher for 224 pixels with patches of 16 and a student for 112 with patches of 8 both see 14 x 14 patches. Models
    with patches of one size share the images as they are.

    Raises:
        ValueError: If the two models divide images into different patches.
    """
    ours, theirs = ImageGrid.of(student), ImageGrid.of(teacher)
    if ours is None or theirs is None:
        return None, None
    if ours.stride == theirs.stride and (ours.size == theirs.size or not (ours.fixed and theirs.fixed)):
        return None, None
    if ours.patches != theirs.patches:
        stride, wanted = ours.stride, theirs.patches
        raise ValueError(
            f"the student divides {ours}, and the teacher {theirs}; both need the same grid of patches: build the "
            f"student with img_size=({wanted[0] * stride[0]}, {wanted[1] * stride[1]}), or with the teacher's image "
            "and patch size, or leave student=None"
        )
    return ours.size, theirs.size


def _pair(value: Any) -> Size | None:
    """Two whole numbers from one or two; None for anything else, and for zeros."""
    pair = (value, value) if isinstance(value, int) else value
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        return None
    return pair[0], pair[1]


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
