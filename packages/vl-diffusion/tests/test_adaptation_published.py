"""Options that reproduce the published runs of Diffusion-TTA, each against a literal computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from vl_core.noise import gaussian, make_keys
from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.draws import place_draws, uniform_at
from vl_diffusion.adaptation.losses import DiffusionTTA
from vl_diffusion.adaptation.selection import select_parameters
from vl_diffusion.models.denoiser import mix_conditions
from vl_diffusion.models.loading import load_denoiser
from vl_diffusion.models.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.from_config({"beta_schedule": "linear", "num_train_timesteps": 1000})
IDS = np.array([11, -5, 7])


@pytest.fixture
def denoiser(pixel_dit_folder):
    return load_denoiser(pixel_dit_folder)


@pytest.fixture
def classifier():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


@pytest.mark.parametrize("error", ["l2", "l1"])
def test_errors_are_squared_or_absolute_as_written_out(classifier, denoiser, recording, error):
    image, objective, seen = torch.rand(1, 28, 28), DiffusionTTA(draws=5, error=error, placement="offset"), []
    adapts = TestTimeAdapter(
        classifier,
        denoiser,
        objective=objective,
        gate=None,
        steps=1,
        batch_size=2,
        optimizer=recording(seen),
    )
    found = adapts([image], image_ids=[11])
    weights = {name: p.detach().clone().requires_grad_() for name, p in classifier.named_parameters()}
    logits = functional_call(classifier, weights, (image[None],))
    names = denoiser.class_names
    condition = mix_conditions(denoiser, denoiser.encode_classes(names), logits.softmax(1).expand(5, -1))
    stride = len(denoiser.schedule) // 5
    start = int(np.random.Generator(np.random.Philox(np.random.SeedSequence([0, 11, 0]))).random(1)[0] * stride)
    steps = np.array([start + stride * i for i in range(5)])
    noise = gaussian(make_keys(0, torch.full((5,), 11), torch.arange(5)), (1, 28, 28))
    alpha, sigma = (level.view(-1, 1, 1, 1) for level in denoiser.schedule.levels(steps))
    x_t = alpha * (2 * image - 1) + sigma * noise
    difference = denoiser.predict(x_t, torch.from_numpy(steps), condition) - noise
    loss = difference.abs().mean() if error == "l1" else difference.square().mean()
    torch.testing.assert_close(found.losses[0, 0], loss.detach(), rtol=1e-5, atol=0)
    for ours, theirs in zip(seen[0], torch.autograd.grad(loss, list(weights.values())), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(("count", "group"), [(15, None), (180, 15), (192, 16), (20, 15), (1000, None), (7, 99)])
@pytest.mark.parametrize("time_range", [(0.0, 1.0), (0.25, 0.75)])
def test_offset_steps_are_a_stride_apart_from_a_random_first_step(count, group, time_range):
    """As the authors place them: range(start, 1000, 1000 // batch), of which ours takes as many as the batch."""
    low, high = (int(1000 * bound) for bound in time_range)
    size = min(group or count, count)
    if size > high - low:
        with pytest.raises(ValueError, match=r"draws=1000 with placement='offset' need as many steps, .* leaves 500"):
            place_draws(SCHEDULE, count, update=0, time_range=time_range, placement="offset", image_ids=IDS)
        return
    draws = place_draws(
        SCHEDULE, count, update=2, time_range=time_range, placement="offset", group=group, image_ids=IDS, seed=4
    )
    assert draws.steps.shape == (3, count)
    assert draws.numbers.tolist() == list(range(2 * count, 3 * count))
    stride = (high - low) // size
    for image, steps in zip(IDS, draws.steps, strict=True):
        starts = (uniform_at(4, int(image), 2, math.ceil(count / size)) * stride).astype(int)
        expected = [step for start in starts for step in range(low + start, high, stride)[:size]]
        assert steps.tolist() == expected[:count]


def test_offsets_differ_between_images_updates_and_groups_and_fill_the_stride():
    steps = np.stack(
        [
            place_draws(SCHEDULE, 30, update=u, placement="offset", group=15, image_ids=np.arange(50)).steps
            for u in range(8)
        ]
    )
    starts = steps[..., [0, 15]]
    assert starts.min() == 0
    assert starts.max() == 1000 // 15 - 1
    assert abs(starts.mean() - 32.5) < 3 * (66**2 / 12 / starts.size) ** 0.5


class Block(nn.Module):
    """Parameters of its own beside a module's, as a transformer's."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.linear, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)


class Network(nn.Module):
    """A class token, blocks, a head, and an activation at the end."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(4))
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(4, 3)
        self.end = nn.Identity()


def test_all_but_the_last_layer_by_name():
    model = Network()
    every = [name for name, _ in model.named_parameters()]
    assert list(select_parameters(model, "all_but_last")) == [name for name in every if not name.startswith("head.")]
    leaves = [module for module in model.modules() if not list(module.children()) and list(module.parameters())]
    published = {id(parameter) for leaf in leaves[:-1] for parameter in leaf.parameters()}
    wanted = [name for name, parameter in model.named_parameters() if id(parameter) in published]
    assert list(select_parameters(model, "leaves_but_last")) == wanted
    assert {"token", "blocks.0.scale", "head.weight"}.isdisjoint(wanted)
    assert {"blocks.1.linear.bias", "blocks.0.norm.weight"} <= set(wanted)
    with pytest.raises(ValueError, match="adapt='all_but_last' selects no parameter of this Sequential"):
        select_parameters(nn.Sequential(nn.Linear(2, 2)), "all_but_last")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"error": "mse"}, "error must be one of l2, l1, got 'mse'"),
        ({"placement": "uniform"}, "placement must be one of even, random, offset, got 'uniform'"),
        ({"group": 15}, "group must be at least 1 and applies to placement='offset', got 15 with 'even'"),
        ({"group": 0, "placement": "offset"}, "group must be at least 1"),
    ],
)
def test_options_that_do_not_exist_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DiffusionTTA(**settings)
