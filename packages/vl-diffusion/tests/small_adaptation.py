"""A small classifier and images to adapt it to, and comparisons of states."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.losses import DiffusionTTA

CLASSES = ("airplane", "bird", "cat", "deer", "dog", "frog", "horse", "mountain", "ship", "truck")


class Counted(nn.Module):
    """A small classifier with batch normalization and dropout that counts its forward and backward passes."""

    def __init__(self, classes=10, channels=1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 4, 3, stride=2),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(36, classes),
        )
        self.forwards = self.backwards = 0

    def forward(self, images: Tensor) -> Tensor:
        self.forwards += len(images)
        output = self.layers(images)
        if output.requires_grad:
            output.register_hook(self._count)
        return output

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def small_classifier():
    """A `Counted` network whose statistics are not those of a layer that has seen nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Counted()
        model.train()(torch.rand(16, 1, 28, 28))
    model.forwards = 0
    return model


def make_images(count=3, channels=1, size=28):
    generator = torch.Generator().manual_seed(7)
    return torch.rand(count, channels, size, size, generator=generator)


def adapt(model, denoiser, images=None, **settings):
    defaults = {"objective": DiffusionTTA(draws=6), "gate": None, "steps": 2, "learning_rate": 1e-2, "batch_size": 8}
    adapter = TestTimeAdapter(model, denoiser, **(defaults | settings))
    return adapter(make_images() if images is None else images, image_ids=None)


def same(one, other):
    """True if two states agree to the last bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def same_state(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
