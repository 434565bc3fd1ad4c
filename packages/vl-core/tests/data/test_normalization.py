from types import SimpleNamespace

import pytest
import torch
from vl_core.data import Normalization


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5)])
def test_each_channel_is_normalized(shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    found = Normalization([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])(images.requires_grad_())
    torch.testing.assert_close(found, (images - mean) / std)
    assert found.requires_grad
    assert torch.equal(Normalization.none()(images), images)


def test_dtype_of_the_images_is_kept():
    assert Normalization((0.5,), (0.5,))(torch.ones(1, 2, 2, dtype=torch.bfloat16)).dtype is torch.bfloat16


@pytest.mark.parametrize(("mean", "std"), [((), ()), ((0.1, 0.2), (1.0,)), ((0.1,), (0.0,)), ((0.1,), (float("nan"),))])
def test_invalid_mean_and_std_are_refused(mean, std):
    with pytest.raises(ValueError, match="std must be positive; got"):
        Normalization(mean, std)


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(ValueError, match="must have 3 channels, got 1"):
        Normalization.none()(torch.zeros(2, 1, 4, 4))


class Configured(torch.nn.Conv2d):
    """A layer that says what it is, as timm and transformers do."""

    def __init__(self, channels, **facts):
        super().__init__(channels, 1, 1)
        for name, value in facts.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("model", "mean"),
    [
        (Configured(3, pretrained_cfg={"mean": (0.1, 0.2, 0.3), "std": (1, 1, 1)}), (0.1, 0.2, 0.3)),
        (Configured(3, config=SimpleNamespace(model_type="siglip")), (0.5, 0.5, 0.5)),
        (Configured(1, config=SimpleNamespace(model_type="siglip")), (0.5,)),
        (Configured(3), (0.485, 0.456, 0.406)),
    ],
)
def test_normalization_of_a_model(model, mean):
    assert Normalization.of(model).mean == pytest.approx(mean)


def test_means_without_deviations_are_refused():
    with pytest.raises(ValueError, match="std of the pretrained_cfg must be one number for each"):
        Normalization.of(Configured(3, pretrained_cfg={"mean": (0.1,), "std": None}))
