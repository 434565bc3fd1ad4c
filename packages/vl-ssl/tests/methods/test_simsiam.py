"""SimSiam against its algorithm, written as loops."""

from __future__ import annotations

import copy

import pytest
import torch
from method_problems import Backbone, cosine, make_views
from torch.nn import functional as F
from vl_ssl import SimSiam


def make(**settings) -> SimSiam:
    torch.manual_seed(0)
    return SimSiam(Backbone(), projection=5, predictor_hidden=4, **settings).double()


@pytest.mark.parametrize("predictor", [True, False])
@pytest.mark.parametrize("stop_gradient", [True, False])
def test_loss_is_that_of_the_loop_over_images(predictor, stop_gradient):
    method = make(predictor=predictor, stop_gradient=stop_gradient)
    views = make_views()
    z = [method.projector(method.backbone(view)) for view in views]
    p = [method.predictor(part) for part in z]
    expected = 0.0
    for i in range(6):
        expected -= (cosine(p[0][i], z[1][i]) + cosine(p[1][i], z[0][i])) / 12
    output = method(*views)
    assert output.loss.item() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(output.projections[1], z[1])
    assert not any(part.requires_grad for part in (*output.features, *output.projections))


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_gradient_reaches_the_target_only_without_stop_gradient(stop_gradient):
    method = make(stop_gradient=stop_gradient)
    views = make_views()
    method(*views).loss.backward()
    copied = copy.deepcopy(method)
    copied.zero_grad()
    z = [copied.projector(copied.backbone(view)) for view in views]
    constants = [part.detach() if stop_gradient else part for part in z]
    similarity = [F.normalize(copied.predictor(z[i])) * F.normalize(constants[1 - i]) for i in (0, 1)]
    (-(similarity[0] + similarity[1]).sum(dim=1).mean() / 2).backward()
    for found, expected in zip(method.parameters(), copied.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=0, atol=1e-12)


def test_batch_statistics_are_those_of_one_view():
    method = make()
    views = make_views()
    layer = method.backbone.layers[1]
    mean = torch.zeros(6, dtype=torch.float64)
    for view in views:
        mean = 0.9 * mean + 0.1 * method.backbone.layers[0](view).mean(dim=(0, 2, 3))
    method(*views)
    torch.testing.assert_close(layer.running_mean, mean, rtol=0, atol=1e-12)


def test_predictor_keeps_the_peak_rate_and_all_is_decayed():
    method = make()
    groups = method.parameter_groups(0.5)
    assert [group.get("constant_rate", False) for group in groups] == [False, True]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.5]
    assert groups[1]["params"] == list(method.predictor.parameters())
    listed = [parameter for group in groups for parameter in group["params"]]
    assert {id(parameter) for parameter in listed} == {id(parameter) for parameter in method.parameters()}
    assert len(listed) == len(list(method.parameters()))
