"""Bad input gets an error that names the argument, what was expected and what came."""

from __future__ import annotations

import re

import pytest
import torch
from vl_core.kernels import diffuse, noise_error

X = torch.zeros(2, 3, 4, 4)
KEYS = torch.arange(2)
V = {"target": "v_prediction", "x0": X, "alpha": 0.8, "sigma": 0.6}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x0": [1.0]}, TypeError, "x0 must be a tensor of a floating type, got list"),
        ({"x0": X.long()}, TypeError, "x0 must be a tensor of a floating type, got torch.int64"),
        ({"x0": torch.tensor(1.0)}, ValueError, "x0 must have shape (images, ...), got a single number"),
        ({"keys": KEYS.int()}, TypeError, "keys must be an int64 tensor, got torch.int32"),
        ({"keys": torch.zeros(2, 3, dtype=torch.int64)}, ValueError, "keys must have shape (n,) or (n, 2), got (2, 3)"),
        ({"keys": KEYS.to("meta")}, ValueError, "keys must be on cpu like the images, got meta"),
        ({"keys": torch.arange(3)}, ValueError, "x0 must hold one image for each of the 3 rows unless image is given"),
        ({"image": [0, 1]}, TypeError, "image must be an int64 tensor, got list"),
        ({"image": torch.zeros(3, dtype=torch.int64)}, ValueError, "image must have shape (2,), one for each row"),
        ({"image": torch.tensor([0, 2])}, ValueError, "image must hold numbers of the 2 images, 0 ... 1, got 0 to 2"),
        ({"image": torch.tensor([-1, 0])}, ValueError, "got -1 to 0"),
        ({"x0": X[:0], "image": KEYS}, ValueError, "x0 must hold an image, got none for 2 rows"),
        ({"alpha": float("inf")}, ValueError, "alpha must be a finite number or a tensor, got inf"),
        ({"alpha": "1"}, ValueError, "alpha must be a finite number or a tensor, got '1'"),
        ({"sigma": torch.ones(3)}, ValueError, "sigma must have shape () or (2,), got (3,)"),
        ({"sigma": torch.ones(2, dtype=torch.int64)}, TypeError, "sigma must be a tensor of a floating type"),
        ({"sigma": torch.ones(2, requires_grad=True)}, ValueError, "sigma gets no gradient; pass sigma.detach()"),
        ({"dtype": torch.int32}, TypeError, "dtype must be a floating type such as torch.float32, got torch.int32"),
        ({"impl": "sdpa"}, ValueError, "impl must be one of 'auto', 'reference', 'triton', got 'sdpa'"),
        ({"impl": "triton"}, ValueError, "impl='triton' cannot compute this: "),
    ],
)
def test_diffuse(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        diffuse(**{"x0": X, "keys": KEYS, "alpha": 0.8, "sigma": 0.6} | arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prediction": None}, TypeError, "prediction must be a tensor of a floating type, got NoneType"),
        ({"prediction": torch.tensor(1.0)}, ValueError, "prediction must have shape (rows, ...)"),
        ({"keys": torch.arange(3)}, ValueError, "keys must hold one key for each of the 2 rows, got 3"),
        ({"target": "v"}, ValueError, "target must be one of 'epsilon', 'v_prediction', 'flow_prediction', 'sample'"),
        ({"loss": "mse"}, ValueError, "loss must be one of 'l2', 'l1', 'huber', got 'mse'"),
        ({"target": "sample"}, ValueError, "x0 must be given for target='sample'"),
        ({**V, "alpha": None}, ValueError, "alpha must be given for target='v_prediction'"),
        ({**V, "x0": X[:1]}, ValueError, "x0 must hold one image for each of the 2 rows unless image is given, got 1"),
        ({**V, "x0": X[..., :2]}, ValueError, "x0 must have shape (images, 3, 4, 4) like prediction, got (2, 3, 4, 2)"),
        ({**V, "x0": X.clone().requires_grad_()}, ValueError, "x0 gets no gradient; pass x0.detach()"),
        ({**V, "image": torch.tensor([0, 5])}, ValueError, "image must hold numbers of the 2 images, 0 ... 1"),
        ({"weight": torch.ones(5)}, ValueError, "weight must broadcast to (images, 3, 4, 4), got (5,)"),
        ({"weight": torch.ones(3, 3, 4, 4)}, ValueError, "weight must hold one image for each of the 2 rows"),
        ({"weight": torch.ones(0, 3, 4, 4)}, ValueError, "weight must hold one image for each of the 2 rows"),
        ({"weight": torch.ones(0, 3, 4, 4), "image": KEYS}, ValueError, "weight must hold an image, got none for 2"),
        ({**V, "weight": torch.ones(3, 3, 4, 4)}, ValueError, "weight must be of 1 or 2 images, got 3"),
        ({"weight": torch.ones(4, dtype=torch.bool)}, TypeError, "weight must be a tensor of a floating type"),
        ({"delta": 0}, ValueError, "delta must be a positive number, got 0"),
        ({"scale": float("nan")}, ValueError, "scale must be a finite number or a tensor, got nan"),
        ({"impl": "cuda"}, ValueError, "impl must be one of"),
    ],
)
def test_noise_error(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        noise_error(**{"prediction": X, "keys": KEYS} | arguments)


def test_what_the_target_does_not_need_is_not_read():
    """So that one call serves models of every kind."""
    assert torch.equal(noise_error(X, KEYS, x0=X + 1, alpha=0.8, sigma=0.6), noise_error(X, KEYS))
