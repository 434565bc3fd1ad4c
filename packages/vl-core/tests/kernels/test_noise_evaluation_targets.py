"""The kernels of noise compile for GPUs that are not there, within the registers of each and without spilling.

`pytest -rP -k targets` prints what every kernel takes.
"""

from __future__ import annotations

import pytest
import torch
from vl_core.kernels import diffuse, noise_error

pytest.importorskip("triton", reason="Triton comes with PyTorch on Linux alone")

pytestmark = pytest.mark.slow


def launches(ahead_of_time, call):
    """Kernels that the launchers would launch for a call on a GPU."""
    from vl_core.kernels.noise_evaluation import api, triton_kernels

    with pytest.MonkeyPatch.context() as patch, ahead_of_time.recorded(triton_kernels) as recorded:
        patch.setattr(api, "_triton_unsupported", lambda images, result: None)
        call()
    return recorded


@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100", "gfx942"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_noisy_images_fit_the_chip(ahead_of_time, target, dtype):
    x0, image = torch.zeros(2, 4, 32, 32), torch.zeros(8, dtype=torch.int64)
    for options in ({"image": image}, {"image": None}):
        images = x0 if options["image"] is not None else torch.zeros(8, 4, 32, 32)
        recorded = launches(
            ahead_of_time, lambda images=images, options=options: diffuse(
                images, torch.arange(8), 0.8, 0.6, **options, dtype=dtype, impl="triton"
            )
        )  # fmt: skip
        assert len(recorded) == 1
        ahead_of_time.check(target, recorded[0], 0)


@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100", "gfx942"])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("epsilon", torch.bfloat16),
        ("epsilon", torch.float32),
        ("weight_and_x0", torch.float16),
        ("sample", torch.float32),
    ],
)
def test_errors_fit_the_chip(ahead_of_time, dense_noise, target, name, dtype):
    prediction, options = dense_noise.comparison(name, (4, 32, 32), dtype)
    recorded = launches(ahead_of_time, lambda: noise_error(prediction, **options, impl="triton").sum().backward())
    assert [launch.kernel.__name__ for launch in recorded] == ["noise_error", "add_tiles", "noise_error"]
    for launch in recorded:
        ahead_of_time.check(target, launch, 0)
