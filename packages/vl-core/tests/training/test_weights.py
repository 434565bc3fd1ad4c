"""Digests of weights: of names, types, shapes and values, wherever the weights lie."""

import copy

import torch
from torch import nn
from vl_core.training import weights_digest


def test_a_digest_knows_names_types_and_values():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.bias[0] += 1
    others = [changed, copy.deepcopy(model).double(), nn.Sequential(model), nn.Linear(3, 2, bias=False)]
    assert weights_digest(copy.deepcopy(model)) == weights_digest(model)
    assert len({weights_digest(one) for one in (model, *others)}) == 5
