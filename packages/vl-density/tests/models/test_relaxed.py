"""Log-probabilities between levels: exact on levels, linear beside them, with right gradients."""

from __future__ import annotations

import pytest
import torch
from vl_density.heads import HEADS, make_head
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.models.pretrained import load_density
from vl_density.models.transformer import ImageTransformer
from vl_density.quantization import from_levels


def new_head(name, channels):
    levels = 2 if name == "bernoulli" else 5
    head = make_head(name, channels, levels).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in head.parameters():
        parameter.data.normal_(generator=generator)
    features = torch.randn(6, head.n_features, generator=generator, dtype=torch.float64)
    return head, features, generator


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_exact_on_levels_and_has_right_gradients_between(name, channels):
    head, features, generator = new_head(name, channels)
    pixels = torch.randint(head.levels, (6, channels), generator=generator)
    assert torch.allclose(
        head.relaxed_log_prob(features, pixels.double()), head.log_prob(features, pixels), rtol=0, atol=1e-12
    )
    values = (pixels.clamp(max=head.levels - 2) + 0.1 + 0.8 * torch.rand(6, channels, generator=generator)).double()
    features.requires_grad_()
    values.requires_grad_()
    assert torch.autograd.gradcheck(head.relaxed_log_prob, (features, values))


@pytest.mark.parametrize("name", ["categorical", "bernoulli"])
def test_a_value_between_has_the_mean_of_log_probabilities(name):
    head, features, _ = new_head(name, 1)
    ends = [head.log_prob(features, torch.full((6, 1), level)) for level in (0, 1)]
    middle = head.relaxed_log_prob(features, torch.full((6, 1), 0.25, dtype=torch.float64))
    assert torch.allclose(middle, 0.75 * ends[0] + 0.25 * ends[1])


@pytest.mark.parametrize("kind", [PixelCNN, ImageTransformer])
def test_a_density_is_exact_on_levels_and_continuous_beside_them(kind):
    torch.manual_seed(0)
    model = kind(image_size=(3, 4), channels=3, levels=6, width=8, layers=2).double().eval()
    images = from_levels(torch.randint(1, 5, (3, 3, 3, 4)), 6).double()
    exact = model.log_prob(images)
    # float32 holds levels to 1e-7, and so does the image.
    assert torch.allclose(model.relaxed_log_prob(images), exact, rtol=0, atol=1e-4)
    for step in (-1e-6, 1e-6):
        assert torch.allclose(model.relaxed_log_prob(images + step), exact, rtol=0, atol=1e-3)
    moved = (images + 0.1).requires_grad_()
    (gradient,) = torch.autograd.grad(model.relaxed_log_prob(moved).sum(), moved)
    direction = torch.randn_like(images)
    rise = model.relaxed_log_prob(moved + 1e-6 * direction) - model.relaxed_log_prob(moved - 1e-6 * direction)
    assert torch.allclose(rise / 2e-6, (gradient * direction).flatten(1).sum(1), rtol=1e-4)


def test_a_built_in_density_gives_black_and_white_finite_gradients():
    model = load_density("fashion-0")
    images = torch.cat([torch.zeros(1, 1, 28, 28), torch.ones(1, 1, 28, 28)]).requires_grad_()
    found = model.relaxed_log_prob(images)
    assert torch.allclose(found, model.log_prob(images.detach()), rtol=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), images)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 1, 4, 4), r"images must be a floating-point tensor \(B, 1, 28, 28\) as the model, got"),
        (torch.zeros(1, 1, 28, 28, dtype=torch.uint8), "got torch.uint8"),
        ([1, 2], "got list"),
        (torch.full((1, 1, 28, 28), 1.1), r"images must lie in \[0, 1\] and be finite"),
        (torch.full((1, 1, 28, 28), torch.nan), r"images must lie in \[0, 1\] and be finite"),
    ],
)
def test_wrong_images_are_named(images, message):
    with pytest.raises(ValueError, match=message):
        load_density("fashion-0").relaxed_log_prob(images)
