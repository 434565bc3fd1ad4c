"""The weight that a model's images meet first."""

import pytest
import torch
from torch import nn
from vl_core.devices import input_weight


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2)), "0.weight"),
        (nn.Sequential(nn.Linear(4, 2), nn.Conv3d(3, 4, 3)), "1.weight"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "1.weight"),
    ],
    ids=["convolution", "convolution after another layer", "no convolution"],
)
def test_it_is_that_of_the_first_convolution_or_the_first_parameter(model, name):
    assert input_weight(model) is dict(model.named_parameters())[name]


def test_parameters_that_are_no_floats_are_passed_over():
    model = nn.Linear(4, 2)
    counts = nn.Module()
    counts.count = nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
    assert input_weight(nn.Sequential(counts, model)) is model.weight
    assert input_weight(counts) is None
