"""Tiled losses equal the dense ones, and save features rather than logits."""

from __future__ import annotations

import math

import pytest
import torch
from loss_problems import assert_same, make_problem
from torch.nn import functional as F
from vl_vlm import InfoNCELoss, SigmoidLoss, dense_info_nce, dense_sigmoid_loss, info_nce, sigmoid_loss

CASES = {
    "pairs": {},
    "hard negatives": {"negatives": 7},
    "several captions": {"texts": 23, "groups": 9},
    "few groups": {"texts": 17, "groups": 3, "negatives": 4},
    "some without a partner": {"groups": 40},
    "images with several ids": {"texts": 23, "groups": 20, "ids": 3, "negatives": 4},
    "one pair and negatives": {"images": 1, "texts": 1, "negatives": 6},
}


@pytest.mark.parametrize("tile", [1, 4, 11, 12, 512])
@pytest.mark.parametrize("case", CASES)
def test_tiled_equals_dense_to_ten_digits(case, tile):
    problem = make_problem(**CASES[case])
    features = problem.images, problem.texts, problem.scale
    # With one image there is nothing to decide between images.
    directions = ["image_to_text"] if len(problem.images) == 1 else ["both", "image_to_text", "text_to_image"]
    for direction in directions:
        options = problem.options | {"direction": direction}
        leaves = problem.leaves(bias=False)[: 3 if direction == "text_to_image" else None]
        assert_same(info_nce(*features, tile=tile, **options), dense_info_nce(*features, **options), leaves, 1e-10)
    tiled = sigmoid_loss(*features, problem.bias, tile=tile, **problem.options)
    dense = dense_sigmoid_loss(*features, problem.bias, **problem.options)
    assert_same(tiled, dense, problem.leaves(bias=True), 1e-10)


@pytest.mark.parametrize("spread", [80.0, 300.0, 5000.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_logits_that_lie_far_apart_equal_the_dense_ones(dtype, tolerance, spread):
    # Beyond the reach of one exponential for rows and columns: each takes its own.
    problem = make_problem()
    norms = torch.linspace(0.01, spread / 7, 11, dtype=torch.float64)[:, None]
    exact = [(problem.images * norms).detach(), problem.texts.detach(), problem.scale.detach(), problem.bias.detach()]
    exact = [x.requires_grad_() for x in exact]
    rounded = [x.detach().to(dtype).requires_grad_() for x in exact]
    for tiled, dense, used in ((info_nce, dense_info_nce, 3), (sigmoid_loss, dense_sigmoid_loss, 4)):
        loss, expected = tiled(*rounded[:used], tile=4), dense(*exact[:used])
        assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
        pairs = zip(torch.autograd.grad(loss, rounded[:used]), torch.autograd.grad(expected, exact[:used]), strict=True)
        for one, other in pairs:
            assert (one.double() - other).abs().max() <= 10 * tolerance * other.abs().max()


def test_sigmoid_keeps_its_digits_at_large_logits():
    same = F.normalize(torch.ones(4, 3, dtype=torch.float64))
    expected = 3 * math.log1p(math.exp(21)) + math.log1p(math.exp(-21))
    assert sigmoid_loss(same, same, 21.0).item() == pytest.approx(expected, abs=1e-11)


def test_gradients_equal_finite_differences():
    problem = make_problem(4, 5, 2, 3)
    leaves = problem.images, problem.texts, problem.scale, problem.bias
    ids = problem.positives
    assert torch.autograd.gradcheck(lambda x, t, s, _: info_nce(x, t, s, positives=ids, tile=3), leaves)
    assert torch.autograd.gradcheck(lambda x, t, s, b: sigmoid_loss(x, t, s, b, positives=ids, tile=3), leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_errs_no_more_than_its_rounding_at_scale_100(dtype):
    problem = make_problem(96, 96, 8, scale=100.0, dtype=torch.float32, width=16)
    low = [x.detach().to(dtype).requires_grad_() for x in (problem.images, problem.texts, problem.negatives)]
    exact = [x.detach().double().requires_grad_() for x in low]
    for tiled, dense, extra in ((info_nce, dense_info_nce, ()), (sigmoid_loss, dense_sigmoid_loss, (-10.0,))):
        with torch.autocast("cpu", torch.bfloat16):
            loss = tiled(low[0], low[1], 100.0, *extra, negatives=low[2], tile=32)
        expected = dense(exact[0], exact[1], 100.0, *extra, negatives=exact[2])
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        for one, other in zip(torch.autograd.grad(loss, low), torch.autograd.grad(expected, exact), strict=True):
            assert one.dtype == dtype
            step = torch.finfo(dtype).eps * other.abs() + 1e-5 * other.abs().max()
            assert bool(((one.double() - other).abs() <= step).all())


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_solved_and_reversed_pairs_are_finite_at_scale_100(sign):
    images = F.normalize(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), dim=1).requires_grad_()
    for loss in (info_nce(images, sign * images, 100.0, tile=16), sigmoid_loss(images, sign * images, 100.0, tile=16)):
        (gradient,) = torch.autograd.grad(loss, images)
        assert loss.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", [InfoNCELoss(), SigmoidLoss()], ids=["info_nce", "sigmoid"])
def test_saves_at_most_twice_the_features(loss):
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(4096, 256, generator=generator).requires_grad_() for _ in range(2))
    saved: dict[int, int] = {}

    def note(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        value = loss(images, texts)
    features = 2 * 4096 * 256 * 4
    assert value.isfinite()
    assert features <= sum(saved.values()) <= 1.1 * features
