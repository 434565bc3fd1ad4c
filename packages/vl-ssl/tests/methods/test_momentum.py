"""Momentum encoders: no gradient, the closed form of the average, statistics of their own."""

from __future__ import annotations

import math

import pytest
import torch
from method_problems import make_method, make_views
from torch import nn
from vl_ssl.methods.momentum import MomentumEncoder, momentum_at

NAMES = ["byol", "moco-v3"]


@pytest.mark.parametrize("name", NAMES)
def test_targets_have_no_gradient_and_everything_else_has(name):
    method = make_method(name)
    method(*make_views()).loss.backward()
    for key, parameter in method.named_parameters():
        assert (parameter.grad is None) == key.startswith("target."), key
        assert parameter.requires_grad != key.startswith("target."), key


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("name", NAMES)
def test_the_average_is_the_closed_form_of_all_trained_weights(name, schedule):
    method = make_method(name, momentum_schedule=schedule)
    optimizer = torch.optim.SGD(method.parameter_groups(0.0), lr=0.1)
    history = [[p.clone() for p in (*method.backbone.parameters(), *method.projector.parameters())]]
    momenta = []
    for update in range(5):
        optimizer.zero_grad()
        method(*make_views(seed=update)).loss.backward()
        optimizer.step()
        method.after_update(update, 5)
        momenta.append(1 - 0.1 * (1 + math.cos(math.pi * update / 5)) / 2 if schedule == "cosine" else 0.9)
        history.append([p.detach().clone() for p in (*method.backbone.parameters(), *method.projector.parameters())])
    for index, found in enumerate(method.target.parameters()):
        expected = math.prod(momenta) * history[0][index]
        for step in range(5):
            expected = expected + (1 - momenta[step]) * math.prod(momenta[step + 1 :]) * history[step + 1][index]
        torch.testing.assert_close(found.detach(), expected, rtol=0, atol=1e-13)


def test_the_schedule_begins_at_its_start_and_ends_at_one():
    assert momentum_at(0.99, "cosine", 0, 100) == pytest.approx(0.99, abs=1e-15)
    assert momentum_at(0.99, "cosine", 100, 100) == 1
    assert momentum_at(0.99, "constant", 100, 100) == 0.99


@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_those_of_the_copy_and_not_averaged(name):
    method = make_method(name)
    views = make_views()
    with torch.no_grad():
        for parameter in method.target.parameters():
            parameter.mul_(2)
    method(*views)
    own, followed = method.target.backbone.layers[1], method.backbone.layers[1]
    torch.testing.assert_close(own.running_mean, 2 * followed.running_mean, rtol=0, atol=1e-12)
    before = own.running_mean.clone()
    method.after_update(0, 10)
    assert torch.equal(own.running_mean, before)
    assert own.num_batches_tracked == 2


@pytest.mark.parametrize("without", ["stop_gradient", "predictor"])
def test_byol_collapses_without_either_part(without):
    spread = []
    for settings in ({}, {without: False}):
        method = make_method("byol", projection=16, **settings)
        optimizer = torch.optim.SGD(method.parameter_groups(1e-4), lr=0.05, momentum=0.9)
        for update in range(80):
            output = method(*make_views(16, size=6, seed=update))
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
            method.after_update(update, 80)
        spread.append(nn.functional.normalize(output.projections[0]).std(dim=0).mean())
    assert spread[1] < spread[0] / 2


def test_the_copy_begins_equal_and_leaves_its_source_alone():
    method = make_method("byol")
    encoder = MomentumEncoder(method.backbone, method.projector)
    encoder.follow(method.backbone, method.projector, 0.0)
    for a, b in zip(encoder.parameters(), [*method.backbone.parameters(), *method.projector.parameters()], strict=True):
        assert torch.equal(a, b)
        assert b.requires_grad
