"""The losses as modules: scale and bias learn, features of any model and length come in."""

from __future__ import annotations

import doctest
import importlib
import math

import pytest
import torch
from loss_problems import make_problem
from torch.nn import functional as F
from vl_vlm import InfoNCELoss, SigmoidLoss, dense_info_nce, dense_sigmoid_loss


@pytest.mark.parametrize("name", ["info_nce", "modules", "reference", "sigmoid"])
def test_docstring_examples_give_what_they_show(name):
    module = importlib.import_module(f"vl_vlm.losses.{name}")
    found = doctest.testmod(module, extraglobs={"torch": torch})
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("sigmoid", [False, True])
def test_normalizes_features_and_learns_its_numbers(sigmoid):
    problem = make_problem(negatives=3)
    features = [(5 * x.detach()).requires_grad_() for x in (problem.images, problem.texts, problem.negatives)]
    module = (SigmoidLoss(scale=9.0, bias=-2.0, tile=4) if sigmoid else InfoNCELoss(scale=9.0, tile=4)).double()
    parameters = list(module.parameters())
    images, texts, negatives = (F.normalize(x, dim=1) for x in features)
    if sigmoid:
        expected = dense_sigmoid_loss(images, texts, parameters[0].exp(), parameters[1], negatives=negatives)
    else:
        expected = dense_info_nce(images, texts, parameters[0].exp(), negatives=negatives)
    loss = module(features[0], features[1], negatives=features[2])
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)
    leaves = [*features, *parameters]
    for one, other in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves), strict=True):
        assert other.abs().max() > 1e-4
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_begins_as_in_the_papers_and_saves_its_numbers():
    assert InfoNCELoss().scale.item() == pytest.approx(1 / 0.07)
    assert (SigmoidLoss().scale.item(), SigmoidLoss().bias.item()) == (pytest.approx(10), -10)
    assert set(InfoNCELoss().state_dict()) == {"log_scale"}
    assert set(SigmoidLoss().state_dict()) == {"log_scale", "bias"}


def test_scale_stays_at_most_100_and_can_shrink_again():
    loss = InfoNCELoss()
    with torch.no_grad():
        loss.log_scale.fill_(9.0)
    mixed = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    value = loss(mixed, mixed.flip(0))
    value.backward()
    assert loss.log_scale.item() == pytest.approx(math.log(100))
    assert loss.log_scale.grad.item() > 0
    assert value.item() == pytest.approx(dense_info_nce(*(F.normalize(x) for x in (mixed, mixed.flip(0))), 100).item())
    unlimited = SigmoidLoss(scale=500.0)
    assert unlimited.scale.item() == pytest.approx(500)


def test_zero_vectors_have_finite_gradients():
    images = torch.zeros(3, 4, requires_grad=True)
    InfoNCELoss()(images, torch.eye(3, 4)).backward()
    assert images.grad.isfinite().all()


def test_training_pairs_them():
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(32, 16, generator=generator).requires_grad_() for _ in range(2))
    for loss in (InfoNCELoss(tile=8), SigmoidLoss(tile=8)):
        features = [x.detach().clone().requires_grad_() for x in (images, texts)]
        optimizer = torch.optim.Adam([*features, *loss.parameters()], lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            loss(*features).backward()
            optimizer.step()
        nearest = (F.normalize(features[0]) @ F.normalize(features[1]).T).argmax(dim=1)
        assert (nearest == torch.arange(32)).float().mean() > 0.9


@pytest.mark.parametrize("make", [InfoNCELoss, SigmoidLoss])
@pytest.mark.parametrize("size", [1, 4, 9, 10])
def test_sub_batches_give_the_gradients_of_one_batch(make, size):
    # The gradients of the features, found once, go back through the tower one sub-batch at a time.
    generator = torch.Generator().manual_seed(0)
    inputs, texts = (torch.randn(9, width, generator=generator, dtype=torch.float64) for width in (5, 3))
    tower, loss = torch.nn.Linear(5, 3).double(), make(tile=4).double()
    parameters = [*tower.parameters(), *loss.parameters()]
    expected = torch.autograd.grad(loss(tower(inputs), texts), parameters)
    features = torch.cat([tower(part) for part in inputs.split(size)]).detach().requires_grad_()
    loss(features, texts).backward()
    for part, gradient in zip(inputs.split(size), features.grad.split(size), strict=True):
        tower(part).backward(gradient)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("loss", [InfoNCELoss(), SigmoidLoss()], ids=["info_nce", "sigmoid"])
def test_a_frozen_tower_and_no_gradients_at_all_are_fine(loss):
    images, texts = torch.eye(3), torch.ones(3, 3, requires_grad=True)
    value = loss(images, texts)
    value.backward()
    assert texts.grad.abs().max() > 0
    assert images.grad is None
    with torch.inference_mode():
        assert loss(images, texts).item() == value.item()
