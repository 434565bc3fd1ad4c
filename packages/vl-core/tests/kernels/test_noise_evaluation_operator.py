"""Both functions as PyTorch operators: registration, compilation, autocast, derivatives."""

from __future__ import annotations

import pytest
import torch
from vl_core.kernels import diffuse, noise_error
from vl_core.noise import make_keys

SHAPE = (2, 4, 3)
KEYS = make_keys(0, torch.tensor([4, 4, 7]), torch.arange(3))
IMAGE = torch.tensor([1, 0, 0])
LEVELS = torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.1, 0.5, 0.9])
# opcheck's, of its own copies
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


def check(operator, *arguments):
    results = torch.library.opcheck(operator, arguments)
    assert set(results.values()) == {"SUCCESS"}
    assert len(results) == 4


@pytest.mark.parametrize("image", [None, IMAGE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_diffuse_is_registered_in_full(image, dtype):
    x0 = torch.randn(3 if image is None else 2, 24, requires_grad=True)
    check(torch.ops.vl_core.diffuse.default, x0, KEYS, *LEVELS, image, dtype, "reference")


@pytest.mark.parametrize("target", ["epsilon", "v_prediction", "flow_prediction", "sample"])
@pytest.mark.parametrize("gradient", [True, False])
def test_noise_error_is_registered_in_full(target, gradient):
    prediction = torch.randn(3, 24, requires_grad=gradient)
    weight = torch.full((2, 24), 1 / 24)
    arguments = KEYS, torch.randn(2, 24), IMAGE, *LEVELS, LEVELS[0], weight, target, "huber", 0.5, "reference"
    check(torch.ops.vl_core.noise_error.default, prediction, *arguments)


def test_noise_error_gradient_is_registered_in_full():
    nothing = (None,) * 6
    arguments = torch.randn(3, 24), KEYS, *nothing, "epsilon", "l2", 1.0, "reference"
    check(torch.ops.vl_core.noise_error_gradient.default, torch.ones(3), *arguments)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_as_one_graph(backend):
    x0 = torch.randn(2, *SHAPE)
    gain = torch.tensor(1.1, requires_grad=True)

    def step(gain):
        x_t = diffuse(x0 * gain, KEYS, *LEVELS, image=IMAGE)
        errors = noise_error(
            x_t * 2, KEYS, target="v_prediction", x0=x0, image=IMAGE, alpha=LEVELS[0], sigma=LEVELS[1], loss="huber"
        )
        return errors * 3

    compiled = torch.compile(step, fullgraph=True, backend=backend)
    upstream = torch.tensor([1.0, -2, 0.5])
    found, right = compiled(gain), step(gain)
    torch.testing.assert_close(found, right)
    torch.testing.assert_close(*(torch.autograd.grad(errors, gain, upstream) for errors in (found, right)))


def test_compiles_for_any_number_of_rows():
    torch._dynamo.reset()
    compiled = torch.compile(noise_error, fullgraph=True, dynamic=True, backend="aot_eager")
    for rows in (2, 5, 9):
        prediction, keys = torch.randn(rows, *SHAPE), torch.arange(rows)
        torch.testing.assert_close(compiled(prediction, keys), noise_error(prediction, keys))


def test_numbers_may_change_between_compiled_calls():
    torch._dynamo.reset()

    def error(x0, number):
        return noise_error(diffuse(x0, KEYS, number, 1 - number), KEYS, scale=number, loss="huber", delta=number)

    compiled = torch.compile(error, fullgraph=True, backend="aot_eager")
    x0 = torch.randn(3, *SHAPE)
    for number in (0.3, 0.5, 0.8):
        torch.testing.assert_close(compiled(x0, number), error(x0, number))


def test_autocast_changes_nothing():
    x0, keys = torch.randn(3, *SHAPE), torch.arange(3)
    x_t = diffuse(x0, keys, *LEVELS)
    errors = noise_error(x_t, keys)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(diffuse(x0, keys, *LEVELS), x_t)
        assert torch.equal(noise_error(x_t, keys), errors)


def test_diffuse_has_derivatives_of_every_order():
    x0 = torch.randn(2, *SHAPE, dtype=torch.float64, requires_grad=True)

    def noisy(x0):
        return diffuse(x0, KEYS, *LEVELS, image=IMAGE)

    assert torch.autograd.gradcheck(noisy, x0)
    assert torch.autograd.gradgradcheck(noisy, x0)


def test_second_derivative_of_an_error_is_refused():
    prediction = torch.randn(3, *SHAPE, requires_grad=True)
    with pytest.raises(RuntimeError, match="noise_error has no second derivative"):
        torch.autograd.grad(noise_error(prediction, KEYS).sum(), prediction, create_graph=True)


@pytest.mark.parametrize("loss", ["l2", "huber"])
def test_gradient_is_the_derivative(loss):
    prediction = torch.randn(3, *SHAPE, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(SHAPE, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: noise_error(p, KEYS, weight=weight, loss=loss, scale=1.5), prediction)
