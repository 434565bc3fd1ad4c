"""Dense predictions: a class or depth for each pixel, concatenated to the noisy image as channels."""

from __future__ import annotations

import diffusers
import pytest
import torch
from torch import nn
from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.losses import DUSA, DiffusionTTA, Entropy
from vl_diffusion.adaptation.tasks import DepthTask, SegmentationTask
from vl_diffusion.models.families.map_conditional import MapConditionalDenoiser
from vl_diffusion.models.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.from_config({"beta_schedule": "linear"})


def network(maps, channels=3, size=16):
    """A small U-Net with `maps` more input channels than it denoises."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return diffusers.UNet2DModel(
            sample_size=size,
            in_channels=channels + maps,
            out_channels=channels,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
        )


def predictor(channels, size=32):
    """From images to maps of half their height."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, channels, 3, 1, 1))


def images(count=2, size=32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def test_a_denoiser_takes_the_map_beside_the_image():
    model = network(4)
    denoiser = MapConditionalDenoiser(model, SCHEDULE)
    assert (denoiser.condition_channels, denoiser.condition_size, denoiser.image_size) == (4, 16, 16)
    x_t, maps, time = torch.randn(2, 3, 16, 16), torch.rand(2, 4, 16, 16), torch.tensor([3, 700])
    with torch.no_grad():
        wanted = model(torch.cat([x_t, maps], 1), time).sample
        assert torch.equal(denoiser.predict(x_t, time, maps), wanted)
    with pytest.raises(TypeError, match="takes maps instead of classes"):
        denoiser.encode_classes(["a", "b"])
    with pytest.raises(
        ValueError, match="more input than output channels, for a map, and this UNet2DModel has 3 and 3"
    ):
        MapConditionalDenoiser(network(0), SCHEDULE)


def test_it_is_saved_and_loaded_as_a_network_with_its_scheduler(tmp_path):
    model = network(2).eval()
    model.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no scheduler_config\.json"):
        MapConditionalDenoiser.from_pretrained(tmp_path)
    diffusers.DDPMScheduler(beta_schedule="linear").save_pretrained(tmp_path)
    loaded = MapConditionalDenoiser.from_pretrained(tmp_path)
    x_t, maps, time = torch.randn(1, 3, 16, 16), torch.rand(1, 2, 16, 16), torch.tensor([5])
    with torch.no_grad():
        wanted = MapConditionalDenoiser(model, SCHEDULE).predict(x_t, time, maps)
        torch.testing.assert_close(loaded.predict(x_t, time, maps), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["episodic", "online"])
def test_segmentation_adapts_through_probabilities_of_each_pixel(mode):
    denoiser = MapConditionalDenoiser(network(4), SCHEDULE)
    settings = {"objective": DiffusionTTA(4), "gate": None, "mode": mode, "learning_rate": 1e-2}
    adapter = TestTimeAdapter(predictor(4), denoiser, task=SegmentationTask(denoiser), **settings)
    result = adapter(images())
    assert result.outputs.shape == (2, 4, 16, 16)
    assert result.predictions.shape == (2, 16, 16)
    assert (result.outputs != result.source).flatten(1).any(1).all()
    assert result.losses.shape == (2, 5)


def test_conditions_have_the_denoisers_size_and_a_gradient():
    denoiser = MapConditionalDenoiser(network(3), SCHEDULE)
    task = SegmentationTask(denoiser)
    for side in (8, 16, 48):
        logits = torch.randn(2, 3, side, side, requires_grad=True)
        condition = task.condition(logits)
        assert condition.shape == (2, 3, 16, 16)
        torch.testing.assert_close(condition.sum(1), torch.ones(2, 16, 16))
        condition.square().sum().backward()
        assert logits.grad.abs().sum() > 0
    constant = task.condition(torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1).expand(1, 3, 48, 48))
    torch.testing.assert_close(constant[0, :, 5, 5], torch.tensor([0.0, 1.0, 2.0]).softmax(0))


def test_depth_is_scaled_to_the_range_of_the_denoiser():
    denoiser = MapConditionalDenoiser(network(1), SCHEDULE)
    task = DepthTask(denoiser, nearest=2.0, farthest=10.0)
    condition = task.condition(torch.tensor([2.0, 6.0, 10.0, 12.0]).view(4, 1, 1, 1).expand(4, 1, 16, 16))
    assert condition[:, 0, 0, 0].tolist() == [-1.0, 0.0, 1.0, 1.0]
    adapter = TestTimeAdapter(
        predictor(1), denoiser, task=DepthTask(denoiser), objective=DiffusionTTA(4), adapt="2.*", learning_rate=1e-2
    )
    result = adapter(images())
    assert result.outputs.shape == (2, 1, 16, 16)
    assert (result.outputs != result.source).any()


def segmentation(channels, objective=None):
    """Adapts a predictor of so many channels with a denoiser of four."""
    denoiser = MapConditionalDenoiser(network(4), SCHEDULE)
    TestTimeAdapter(predictor(channels), denoiser, task=SegmentationTask(denoiser), objective=objective)(images())


def depth(model):
    """Adapts a model of depths."""
    denoiser = MapConditionalDenoiser(network(1), SCHEDULE)
    TestTimeAdapter(model, denoiser, task=DepthTask(denoiser))(images())


def millimeters():
    """A predictor of depths in another unit than its denoiser's."""
    model = nn.Sequential(predictor(1), nn.Flatten(1), nn.Unflatten(1, (1, 16, 16)))
    with torch.no_grad():
        model[0][2].bias += 4000.0
    return model


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: segmentation(3), r"must return logits \(2, 4, height, width\), got \(2, 3, 16, 16\)"),
        (lambda: segmentation(4, DUSA()), "DUSA needs a classification task"),
        (lambda: depth(predictor(4)), r"must return depths \(2, 1, height, width\), got \(2, 4, 16, 16\)"),
        (lambda: depth(millimeters()), r"nearest=0.0 and farthest=1.0, got .*same unit"),
        (
            lambda: DepthTask(MapConditionalDenoiser(network(1), SCHEDULE), nearest=1.0, farthest=1.0),
            "nearest must be less than farthest",
        ),
        (
            lambda: DepthTask(MapConditionalDenoiser(network(4), SCHEDULE)),
            "depth is one channel, and the denoiser is conditioned on 4",
        ),
    ],
)
def test_outputs_and_tasks_that_do_not_fit_are_refused(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


def test_entropy_of_maps_is_the_mean_over_pixels():
    denoiser = MapConditionalDenoiser(network(4), SCHEDULE)
    adapter = TestTimeAdapter(predictor(4), denoiser, task=SegmentationTask(denoiser), objective=Entropy(), steps=1)
    result = adapter(images())
    log = result.source.log_softmax(1)
    torch.testing.assert_close(result.losses[:, 0], -(log.exp() * log).sum(1).mean((1, 2)))
