"""The kernels compile for GPUs that are not there, within the registers and shared memory of each.

`pytest -rP -k targets` prints what every kernel takes.
"""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton comes with PyTorch on Linux alone")

pytestmark = pytest.mark.slow

TARGETS = ["sm_80", "sm_90", "sm_100", "gfx942"]
# Heads of a ViT-B and of a wider one; short and long; the precisions that training uses.
SHAPES = [
    pytest.param(dtype, width, tokens, id=f"{str(dtype).removeprefix('torch.')}-d{width}-n{tokens}")
    for dtype, width, tokens in (
        (torch.bfloat16, 64, 50),
        (torch.bfloat16, 64, 197),
        (torch.float16, 64, 577),
        (torch.bfloat16, 128, 577),
        (torch.float32, 64, 577),
    )
]
SPILLED_BYTES = 64  # a thread


def launches(ahead_of_time, dense, target, option, dtype, width, tokens):
    """Kernels that the launcher would launch for a problem on a target."""
    from vl_core.kernels import attention_distillation
    from vl_core.kernels.attention_distillation import api, triton, triton_kernels

    with pytest.MonkeyPatch.context() as patch, ahead_of_time.recorded(triton_kernels) as recorded:
        patch.setattr(triton, "backend", lambda tensor: "hip" if target.startswith("gfx") else "cuda")
        patch.setattr(api, "_triton_unsupported", lambda problem: None)
        tensors, options = dense.problem(option, tokens, dtype, width=width)
        attention_distillation(*tensors, **options, impl="triton").sum().backward()
    return recorded


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("dtype", "width", "tokens"), SHAPES)
def test_kernels_fit_the_chip(ahead_of_time, dense, target, dtype, width, tokens):
    recorded = launches(ahead_of_time, dense, target, "strided", dtype, width, tokens)
    assert recorded
    for launch in recorded:
        ahead_of_time.check(target, launch, SPILLED_BYTES)


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
@pytest.mark.parametrize(
    ("option", "tokens"), [("bias_by_image", 577), ("key_mask", 50), ("head_average_kl", 577), ("head_average_kl", 50)]
)
def test_kernels_compile_with_every_option(ahead_of_time, dense, target, option, tokens):
    recorded = launches(ahead_of_time, dense, target, option, torch.bfloat16, 64, tokens)
    assert recorded
    for launch in recorded:
        ahead_of_time.check(target, launch, 2048)  # these are to work; the shapes above are to be fast
