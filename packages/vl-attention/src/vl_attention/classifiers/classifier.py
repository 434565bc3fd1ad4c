"""A plain classifier behind the call of `AttentionTransfer`, for training from scratch and for fine-tuning."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vl_attention.models.calling import call, check_images, logits_of
from vl_attention.models.layout import ViTLayout
from vl_attention.models.normalization import Normalization
from vl_attention.transfer.attention_transfer import TransferOutput


class Classifier(nn.Module):
    """A model of timm or transformers that takes images in 0..1 and learns nothing but its task.

    Args:
        student: The model, with a classifier.
        normalization: How images enter it; default: as the model says.
    """

    def __init__(self, student: nn.Module, normalization: Normalization | None = None):
        super().__init__()
        self.student = student
        self.student_normalization = normalization or Normalization.of(student)

    def forward(self, images: Tensor) -> TransferOutput:
        """The logits of images ``(B, C, H, W)`` in 0..1, and no loss of transfer."""
        check_images(images)
        logits = logits_of(call(self.student, self.student_normalization(images)))
        return TransferOutput(logits, logits.new_zeros(()), logits.new_zeros(0))

    def compile_blocks(self, **options: Any) -> Classifier:
        """Compile each block with `torch.compile`."""
        for name in ViTLayout.of(self.student).blocks:
            self.student.get_submodule(name).compile(**options)
        return self
