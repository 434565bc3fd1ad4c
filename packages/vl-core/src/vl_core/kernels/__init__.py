"""Operations with a plain PyTorch implementation everywhere and a Triton kernel on GPUs."""

from vl_core.kernels.attention_distillation import attention_distillation

__all__ = ["attention_distillation"]
