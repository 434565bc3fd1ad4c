"""Images as tensors, and ids from their pixels."""

from __future__ import annotations

import torch
from vl_diffusion.models.images import content_id, to_tensor


def test_images_that_require_gradients_are_accepted():
    image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert content_id(to_tensor(image.clone().requires_grad_())) == content_id(to_tensor(image))
