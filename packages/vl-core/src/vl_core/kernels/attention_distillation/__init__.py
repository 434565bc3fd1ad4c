"""A loss between two models' attention maps; see `attention_distillation`."""

from vl_core.kernels.attention_distillation.api import attention_distillation

__all__ = ["attention_distillation"]
