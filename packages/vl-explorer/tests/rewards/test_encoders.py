"""An encoder is frozen: neither later training, nor the batch, nor its use changes what it gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from vl_explorer.rewards.encoders import NetworkEncoder, PixelEncoder
from vl_ssl import small_resnet


def photographs(count: int, side: int = 20) -> list[Image.Image]:
    draws = np.random.default_rng(0)
    return [Image.fromarray(draws.integers(0, 256, (side, side + n, 3), np.uint8)) for n in range(count)]


def network(channels: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = small_resnet(4, "10", channels=channels)
        found(torch.rand(8, channels, 16, 16))  # so that its statistics are not those of a new network
    return found


IMAGES = photographs(5)
MODES = [Image.new("L", (9, 30), 7), Image.new("RGBA", (40, 8), (9, 200, 3, 99)), Image.new("1", (5, 5)), IMAGES[0]]


def test_later_training_of_the_backbone_changes_no_feature():
    backbone = network()
    encoder = NetworkEncoder(backbone, image_size=16, name="mine")
    before = encoder(IMAGES)
    assert backbone.training
    optimizer = torch.optim.SGD(backbone.parameters(), lr=1.0)
    backbone(torch.rand(4, 3, 16, 16)).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(encoder(IMAGES), before)
    assert not np.allclose(NetworkEncoder(backbone, image_size=16, name="later")(IMAGES), before)


def test_use_changes_neither_backbone_nor_generator_nor_hooks_of_a_monitor():
    backbone, seen = network(), []
    backbone.network.register_forward_hook(lambda *_: seen.append(1))
    weights = {name: value.clone() for name, value in backbone.state_dict().items()}
    state = torch.get_rng_state()
    NetworkEncoder(backbone, image_size=16, name="mine")(IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert not seen
    assert all(torch.equal(value, weights[name]) for name, value in backbone.state_dict().items())
    assert all(parameter.requires_grad for parameter in backbone.parameters())


class Counting(nn.Module):
    """Gives another answer in every call unless its buffer is put back."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return images.flatten(1) + self.calls


@pytest.mark.parametrize("channels", [1, 3])
def test_features_do_not_depend_on_the_batch(channels):
    backbone = network(channels)
    encoder = NetworkEncoder(backbone, image_size=16, name="mine")
    together = encoder(IMAGES + MODES)
    alone = np.concatenate([encoder([image]) for image in IMAGES + MODES])
    in_twos = NetworkEncoder(backbone, image_size=16, batch_size=2, name="mine")(IMAGES + MODES)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together, in_twos, atol=1e-6)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert encoder([]).shape == (0, 32)


def test_buffers_that_a_network_changes_are_put_back():
    encoder = NetworkEncoder(Counting(), image_size=4, name="counting")
    np.testing.assert_array_equal(encoder(IMAGES), encoder(IMAGES))


def test_an_image_without_features_is_unlike_all_others():
    encoder = NetworkEncoder(nn.Sequential(nn.Flatten(), nn.ReLU()), image_size=4, name="flat")
    black, other = encoder([Image.new("RGB", (4, 4)), IMAGES[0]])
    np.testing.assert_allclose(black, -(48**-0.5), rtol=1e-6)
    assert black @ other < 0


def test_pixels_are_those_of_the_resized_image_without_their_mean():
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    expected = np.arange(48).reshape(4, 4, 3).transpose(2, 0, 1).ravel() - 23.5
    found, flat = PixelEncoder(4)([image, Image.new("L", (7, 9), 77)])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(flat, -(48**-0.5), rtol=1e-6)
    assert PixelEncoder()([]).shape == (0, 768)


class Unfinished(nn.Module):
    """Features that are not finite."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) / 0.0


@pytest.mark.parametrize(
    ("make", "images", "kind", "words"),
    [
        (lambda: NetworkEncoder(len, image_size=4, name="x"), [], TypeError, "backbone must be a torch.nn.Module"),
        (lambda: NetworkEncoder(nn.Conv2d(3, 2, 1), image_size=4, name="x"), [], ValueError, "features of shape"),
        (lambda: NetworkEncoder(nn.Flatten(), image_size=0, name="x"), [], ValueError, "image_size must be at least 1"),
        (
            lambda: NetworkEncoder(nn.Flatten(), image_size=4, batch_size=0, name="x"),
            [],
            ValueError,
            "batch_size must be at least 1, got 0",
        ),
        (lambda: NetworkEncoder(network(4), image_size=16, name="x"), [], ValueError, "1 or 3 channels, got one for 4"),
        (lambda: PixelEncoder(0), [], ValueError, "side must be at least 1, got 0"),
        (PixelEncoder, IMAGES[0], TypeError, "images must be a sequence of images, got one Image"),
        (PixelEncoder, [IMAGES[0], "b.png"], TypeError, "image 1 cannot be encoded: image must be a PIL image"),
        (
            lambda: NetworkEncoder(Unfinished(), image_size=4, batch_size=1, name="x"),
            [IMAGES[0], MODES[2]],
            ValueError,
            "encoder x must give finite features, got others for image",
        ),
    ],
)
def test_what_cannot_be_encoded_is_refused(make, images, kind, words):
    with pytest.raises(kind, match=words):
        make()(images)
