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
