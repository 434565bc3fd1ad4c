"""Losses against loops over images and dimensions, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from method_problems import cosine, make_method, make_views
from torch import nn

EXACT = pytest.approx


def _heads(method, views):
    """Projections and predictions of both views."""
    z = [method.projector(method.backbone(view)).detach() for view in views]
    predictor = getattr(method, "predictor", nn.Identity())
    return z, [predictor(part).detach() for part in z]


def _moved(name, **settings):
    """A method whose momentum encoder differs from the trained branch."""
    method = make_method(name, **settings)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.target.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return method


@pytest.mark.parametrize("predictor", [True, False])
def test_byol_is_the_distance_of_unit_vectors_to_the_momentum_encoder(predictor):
    method, views = _moved("byol", predictor=predictor), make_views()
    _, p = _heads(method, views)
    t = [method.target(view) for view in views]
    expected = 0.0
    for i in range(6):
        for a, b in ((p[0][i], t[1][i]), (p[1][i], t[0][i])):
            expected += sum((x / a.norm() - y / b.norm()).item() ** 2 for x, y in zip(a, b, strict=True)) / 6
    assert method(*views).loss.item() == EXACT(expected, abs=1e-12)


def test_byol_without_stop_gradient_takes_its_own_projections():
    method, views = make_method("byol", stop_gradient=False), make_views()
    z, p = _heads(method, views)
    expected = sum(4 - 2 * cosine(p[0][i], z[1][i]) - 2 * cosine(p[1][i], z[0][i]) for i in range(6)) / 6
    assert method(*views).loss.item() == EXACT(expected, abs=1e-12)
    assert method.target is None
    method.after_update(0, 1)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_moco_is_the_cross_entropy_of_finding_the_key_of_the_same_image(temperature):
    method, views = _moved("moco-v3", temperature=temperature), make_views()
    _, q = _heads(method, views)
    k = [method.target(view) for view in views]
    expected = 0.0
    for queries, keys in ((q[0], k[1]), (q[1], k[0])):
        for i in range(6):
            weights = [math.exp(cosine(queries[i], keys[j]) / temperature) for j in range(6)]
            expected -= 2 * temperature * math.log(weights[i] / sum(weights)) / 6
    assert method(*views).loss.item() == EXACT(expected, abs=1e-12)


def test_simclr_is_the_cross_entropy_of_finding_the_other_view():
    method, views = make_method("simclr", temperature=0.3), make_views()
    z = torch.cat(_heads(method, views)[0])
    expected = 0.0
    for i in range(12):
        weights = {j: math.exp(cosine(z[i], z[j]) / 0.3) for j in range(12) if j != i}
        expected -= math.log(weights[(i + 6) % 12] / sum(weights.values())) / 12
    assert method(*views).loss.item() == EXACT(expected, abs=1e-12)


@pytest.mark.parametrize(("batch", "projection"), [(7, 4), (4, 7)])
def test_vicreg_is_invariance_variance_and_covariance(batch, projection):
    method = make_method("vicreg", projection=projection, weights=(3.0, 5.0, 0.7))
    views = make_views(batch)
    z = [part.tolist() for part in _heads(method, views)[0]]
    images, dimensions = range(batch), range(projection)
    expected = 3.0 * sum((z[0][i][j] - z[1][i][j]) ** 2 for i in images for j in dimensions) / (batch * projection)
    for rows in z:
        means = [sum(rows[i][j] for i in images) / batch for j in dimensions]

        def covariance(j, k, rows=rows, means=means):
            return sum((rows[i][j] - means[j]) * (rows[i][k] - means[k]) for i in images) / (batch - 1)

        for j in dimensions:
            expected += 5.0 / 2 * max(0.0, 1 - math.sqrt(covariance(j, j) + 1e-4)) / projection
            expected += 0.7 * sum(covariance(j, k) ** 2 for k in dimensions if k != j) / projection
    assert method(*views).loss.item() == EXACT(expected, abs=1e-12)


def test_nnsiam_predicts_the_nearest_of_the_queue():
    method, views = make_method("nnsiam"), make_views()
    queue = method.queue.clone()
    z, p = _heads(method, views)

    def nearest(vector):
        return max(queue, key=lambda stored: cosine(vector, stored))

    expected = 0.0
    for i in range(6):
        expected -= (cosine(p[0][i], nearest(z[1][i])) + cosine(p[1][i], nearest(z[0][i]))) / 12
    assert method(*views).loss.item() == EXACT(expected, abs=1e-12)


@pytest.mark.parametrize("size", [4, 16])
def test_the_queue_holds_the_last_projections_of_the_first_view(size):
    method = make_method("nnsiam", queue=size)
    stored = list(method.queue)
    for step in range(4):
        output = method(*make_views(seed=step))
        stored += list(output.projections[0] / output.projections[0].norm(dim=1, keepdim=True))
    assert method.queue_position == 24 % size
    turned = method.queue.roll(-int(method.queue_position), dims=0)
    torch.testing.assert_close(turned, torch.stack(stored[-size:]), rtol=0, atol=1e-12)


def test_the_queue_rests_in_evaluation_and_travels_in_the_state():
    method = make_method("nnsiam")
    method(*make_views())
    before = method.queue.clone()
    method.eval()(*make_views(seed=1))
    assert torch.equal(method.queue, before)
    other = make_method("nnsiam")
    other.load_state_dict(method.state_dict())
    assert other.queue_position == 6
    assert other.eval()(*make_views()).loss == method(*make_views()).loss
