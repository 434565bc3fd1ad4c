"""A plain classifier with the interface of `AttentionTransfer`, for training from scratch and fine-tuning."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vl_attention.models.inference import call_model, check_images, get_logits
from vl_attention.models.layout import ViTLayout
from vl_attention.models.normalization import Normalization
from vl_attention.transfer.attention_transfer import TransferOutput


class Classifier(nn.Module):
    """A timm or transformers model that takes images in 0..1 and learns from labels only.

    Args:
        student: The model, with a classifier.
        normalization: Normalization of images in 0..1; default: the model's own.
    """

    def __init__(self, student: nn.Module, normalization: Normalization | None = None):
        super().__init__()
        self.student = student
        self.student_normalization = normalization or Normalization.of(student)

    def forward(self, images: Tensor) -> TransferOutput:
        """Compute the logits of images ``(B, C, H, W)`` in 0..1; the transfer loss is zero."""
        check_images(images, self)
        logits = get_logits(call_model(self.student, self.student_normalization(images)))
        return TransferOutput(logits, logits.new_zeros(()), logits.new_zeros(0))

    def compile_blocks(self, **options: Any) -> Classifier:
        """Compile each block with `torch.compile`."""
        for name in ViTLayout.of(self.student).blocks:
            self.student.get_submodule(name).compile(**options)
        return self
