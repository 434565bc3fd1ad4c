"""LARS against a loop by hand in float64, groups of parameters, and training that resumes with every optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vl_core.training import Shuffled, TrainingSettings, fit
from vl_ssl.optimizers.building import build_optimizer, parameter_groups
from vl_ssl.optimizers.lars import LARS


def lars_by_hand(
    weights: list[float], gradients: list[list[float]], rates: list[float], *, m: float, d: float, trust: float
) -> list[float]:
    """Weights after the steps, in Python's floats; ``trust`` 0 stands for plain SGD."""
    w, v = list(weights), [0.0] * len(weights)
    for g, rate in zip(gradients, rates, strict=True):
        u = [gi + d * wi for gi, wi in zip(g, w, strict=True)]
        w_norm, u_norm = sum(x * x for x in w) ** 0.5, sum(x * x for x in u) ** 0.5
        factor = trust * w_norm / u_norm if trust and w_norm and u_norm else 1.0
        v = [m * vi + factor * ui for vi, ui in zip(v, u, strict=True)]
        w = [wi - rate * vi for wi, vi in zip(w, v, strict=True)]
    return w


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lars_equals_a_loop_by_hand_with_and_without_exclusion(momentum: float, weight_decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start, gradients = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 4), (5, 3, 4)))
    rates = [0.5, 0.4, 0.3, 0.2, 0.1]
    adapted, plain, zero = (nn.Parameter(tensor.clone()) for tensor in (start, start, torch.zeros_like(start)))
    groups: list[dict[str, Any]] = [{"params": [adapted, zero]}, {"params": [plain], "lars_excluded": True}]
    optimizer = LARS(groups, 1.0, momentum=momentum, weight_decay=weight_decay, trust_coefficient=0.02)
    for gradient, rate in zip(gradients, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
            for parameter in group["params"]:
                parameter.grad = gradient.clone()
        optimizer.step()
    listed = [gradient.flatten().tolist() for gradient in gradients]
    for parameter, first, trust in ((adapted, start, 0.02), (plain, start, 0.0), (zero, 0 * start, 0.02)):
        expected = lars_by_hand(first.flatten().tolist(), listed, rates, m=momentum, d=weight_decay, trust=trust)
        assert torch.allclose(parameter.detach().flatten(), torch.tensor(expected, dtype=torch.float64), rtol=1e-12)


def test_excluded_lars_is_pytorchs_sgd_and_a_missing_or_zero_gradient_moves_as_sgd_does() -> None:
    ours, theirs = ([nn.Parameter(torch.arange(1.0, 4)), nn.Parameter(torch.ones(2, 2))] for _ in range(2))
    lars = LARS([{"params": ours, "lars_excluded": True}], 0.1, weight_decay=0.5)
    sgd = torch.optim.SGD(theirs, 0.1, momentum=0.9, weight_decay=0.5)
    for step in range(3):
        ours[0].grad, theirs[0].grad = (torch.full((3,), float(step)) for _ in range(2))
        lars.step()
        sgd.step()
    for own, other in zip(ours, theirs, strict=True):
        assert torch.allclose(own, other)
    still = nn.Parameter(torch.ones(2))
    still.grad = torch.zeros(2)
    LARS([still], 0.1).step()
    assert torch.equal(still, torch.ones(2))


def test_a_closure_is_called_with_gradients() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = LARS([weight], 1.0, trust_coefficient=0.5)

    def closure() -> float:
        loss = (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    assert optimizer.step(closure) == 1.0
    assert weight.item() == 0.5


def test_groups_spare_biases_and_norms_and_hold_each_trainable_parameter_once() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))
    module[3].weight.requires_grad_(False)
    weights, vectors = parameter_groups(module, 0.1)
    assert [list(p.shape) for p in weights["params"]] == [[2, 1, 3, 3]]
    assert [list(p.shape) for p in vectors["params"]] == [[2], [2], [2], [3]]
    assert (weights["weight_decay"], vectors["weight_decay"], vectors["lars_excluded"]) == (0.1, 0.0, True)
    (single,) = parameter_groups(module, 0.1, exclude_vectors=False)
    assert len(single["params"]) == 5


@pytest.mark.parametrize("name", ["sgd", "lars", "adamw"])
def test_an_interrupted_training_ends_like_an_uninterrupted_one(tmp_path: Path, name: str) -> None:
    data = Shuffled([torch.full((2,), float(i)) for i in range(8)], seed=0)
    settings = TrainingSettings(updates=6, batch_size=2, learning_rate=0.1)

    class Stop(Exception):
        pass

    def train(out: Path, stop: int = -1) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
        groups = [{**group, "lr_scale": 0.5} for group in parameter_groups(model, 0.01)]
        optimizer = build_optimizer(name, groups, learning_rate=0.1)  # type: ignore[arg-type]

        def loss(model: nn.Module, batch: Tensor, number: int) -> Tensor:
            if number == stop:
                raise Stop
            return (model(batch) - 1).square().mean()

        fit(model, data, loss, settings, out, optimizer=optimizer, checkpoint_every=2, progress=False)
        return model

    whole = train(tmp_path / "whole")
    with pytest.raises(Stop):
        train(tmp_path / "parts", stop=5)
    for first, second in zip(whole.parameters(), train(tmp_path / "parts").parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr must be at least 0"),
        ({"lr": 0.1, "momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"lr": 0.1, "weight_decay": float("nan")}, "weight_decay must be at least 0"),
        ({"lr": 0.1, "trust_coefficient": 0.0}, "trust_coefficient must be above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LARS([nn.Parameter(torch.ones(1))], **settings)


def test_an_unknown_name_nothing_to_train_and_a_negative_decay_are_refused() -> None:
    with pytest.raises(ValueError, match="one of sgd, lars, adamw, got 'adam'"):
        build_optimizer("adam", [], learning_rate=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="require a gradient, got none in Flatten"):
        parameter_groups(nn.Flatten(), 0.1)
    with pytest.raises(ValueError, match="weight_decay must be at least 0"):
        parameter_groups(nn.Linear(1, 1), -0.1)
