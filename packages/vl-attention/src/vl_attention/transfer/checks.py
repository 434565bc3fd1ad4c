"""Checks of the two models of a transfer, and of the images that they are given."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_attention.models.dropout import patch_dropout
from vl_attention.models.grids import ImageGrid, Size
from vl_attention.models.inference import check_precision
from vl_attention.transfer.copied_attention import CopiedAttention


def check_model(name: str, model: nn.Module) -> None:
    """Raise unless this is a plain model with attention of its own."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"{name} must be a model, got {type(model).__name__}; load it first with timm.create_model or "
            "from_pretrained"
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            f"{name} must be a plain timm or transformers model, got a traced or scripted one, whose attention cannot "
            "be read; pass the model that it was made from"
        )
    check_precision(name, model)
    if hasattr(model, "student_normalization"):
        raise ValueError(
            f"{name} must be a plain timm or transformers model, got {type(model).__name__}, which wraps one; pass its "
            ".student, and its .student_normalization separately"
        )
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise ValueError(
            f"{name} must be a plain timm or transformers model, got {type(model).__name__}; pass its .module, and "
            "wrap the AttentionTransfer instead"
        )
    if any(isinstance(module, CopiedAttention) for module in model.modules()):
        raise ValueError(
            f"{name} must have attention of its own, and this one is the student of another AttentionTransfer, which "
            "copies; pass a new model, since a mode that copies changes its student in place"
        )


def check_student(student: nn.Module, teacher: nn.Module) -> None:
    """Raise unless a given student can learn from a teacher."""
    check_model("student", student)
    if student is teacher:
        raise ValueError(
            "student and teacher must be different objects; leave student=None for a new one, or copy the teacher"
        )
    if getattr(student, "num_classes", None) == 0:
        raise ValueError("the student has no classifier (num_classes=0); add one with reset_classifier")
    if dropped := patch_dropout(student):
        rates = ", ".join(f"{name} at a rate of {rate:g}" for name, rate in dropped.items())
        raise ValueError(
            f"the student must see all patches, and leaves out some in training: {rates}; create it with "
            "patch_drop_rate=0"
        )


def check_checkpointing(student: nn.Module, mode: str) -> None:
    """Raise if a student that copies uses gradient checkpointing, which would run it again without its teacher."""
    for module in student.modules():
        if getattr(module, "grad_checkpointing", False) or getattr(module, "gradient_checkpointing", False):
            raise ValueError(
                f"mode={mode!r} does not work with gradient checkpointing, which runs the student again in the "
                "backward pass, without its teacher; turn off gradient checkpointing, or use mode='distill'"
            )


def check_channels(student: int, teacher: int) -> None:
    """Raise unless both models take images with the same number of channels."""
    if student != teacher:
        raise ValueError(
            f"student and teacher must take images with equal numbers of channels, got {student} and {teacher}; create "
            f"the student with in_chans={teacher}, or give both normalizations as many numbers"
        )


def in_size(images: Tensor, size: Size | None, name: str, model: nn.Module) -> Tensor:
    """Images ``(B, C, H, W)`` in the size that a model needs of its own; None leaves them as they are.

    Raises:
        ValueError: If they are left as they are, and the model takes another size only.
    """
    given = (int(images.shape[-2]), int(images.shape[-1]))
    if size is None:
        grid = ImageGrid.of(model)
        if grid is not None and grid.fixed and grid.size != given:
            raise ValueError(
                f"images must have the {name}'s size, {grid.size[0]} x {grid.size[1]} pixels, got {given[0]} x "
                f"{given[1]}; resize them, or create the model with img_size={given} or dynamic_img_size=True"
            )
        return images
    if size == given:
        return images
    resized = F.interpolate(images.float(), size, mode="bilinear", antialias=True, align_corners=False)
    return resized.to(images.dtype)
