"""Operations with a plain PyTorch implementation everywhere and a Triton kernel on GPUs."""

from vl_core.kernels.attention_distillation import attention_distillation
from vl_core.kernels.noise_evaluation import diffuse, noise_error

__all__ = ["attention_distillation", "diffuse", "noise_error"]
