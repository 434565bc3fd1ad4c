"""Heads against sums over all levels, a plain formula, and the frequencies of what they draw."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck
from vl_density.heads import HEADS, LogisticMixture, make_head


def features_of(head, *shape, seed=0, spread=1.0):
    return (
        torch.randn(*shape, head.n_features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        * spread
    )


@pytest.mark.parametrize("spread", [0.1, 1, 30])
@pytest.mark.parametrize("levels", [2, 5, 256])
def test_probabilities_of_a_logistic_mixture_sum_to_one(levels, spread):
    head = LogisticMixture(1, levels, components=3)
    features = features_of(head, 7, spread=spread)[:, None].expand(7, levels, -1)
    pixels = torch.arange(levels)[None, :, None].expand(7, levels, 1)
    total = head.log_prob(features, pixels).exp().sum((1, 2))
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-10)


def test_a_logistic_mixture_is_the_difference_of_two_distribution_functions():
    head = LogisticMixture(1, 256, components=1)
    features = torch.tensor([[0.0, 0.2, -2.0]], dtype=torch.float64)  # logit, mean, logarithm of the scale
    levels = torch.tensor([0, 100, 153, 255])
    ends = (levels[:, None] + torch.tensor([-0.5, 0.5])) * 2 / 255 - 1
    below = torch.sigmoid((ends - 0.2) * math.exp(2))
    below[0, 0], below[-1, 1] = 0, 1
    found = head.log_prob(features.expand(4, -1), levels[:, None])[:, 0].exp()
    torch.testing.assert_close(found, (below[:, 1] - below[:, 0]).double(), rtol=1e-5, atol=0)


def test_narrow_and_far_components_have_finite_values_and_gradients():
    head = LogisticMixture(1, 256, components=1)
    features = torch.tensor([[0.0, 1.0, -7.0], [0.0, -1.0, 30.0], [0.0, 50.0, -7.0]], requires_grad=True)
    found = head.log_prob(features, torch.tensor([[0], [128], [3]]))
    found.sum().backward()
    assert found.isfinite().all()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_gradients_of_heads(name):
    head = make_head(name, 3, 2).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    pixels = torch.tensor([[0, 1, 1], [1, 0, 0]])
    assert gradcheck(lambda features: head.log_prob(features, pixels), features_of(head, 2).requires_grad_())


@pytest.mark.parametrize(("name", "levels"), [("categorical", 4), ("logistic-mixture", 4), ("bernoulli", 2)])
def test_draws_have_the_probabilities_of_the_head(name, levels):
    head = make_head(name, 2, levels).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    features = features_of(head, seed=3)
    uniforms = torch.rand(40_000, head.n_uniforms, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = head.draw(features.expand(40_000, -1), uniforms)
    counts = torch.bincount(drawn[:, 0] * levels + drawn[:, 1], minlength=levels**2) / 40_000
    pixels = torch.cartesian_prod(torch.arange(levels), torch.arange(levels))
    expected = head.log_prob(features.expand(len(pixels), -1), pixels).sum(-1).exp()
    error = (expected * (1 - expected) / 40_000).sqrt()
    assert ((counts - expected).abs() < 5 * error + 1e-9).all()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("logistic", 1, 256), {}, "head must be one of categorical, logistic-mixture, bernoulli, got 'logistic'"),
        (("bernoulli", 1, 256), {}, "head 'bernoulli' needs levels=2, got 256"),
        (("logistic-mixture", 1, 256), {"components": 0}, "components must be at least 1, got 0"),
    ],
)
def test_wrong_heads_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make_head(*arguments, **options)
