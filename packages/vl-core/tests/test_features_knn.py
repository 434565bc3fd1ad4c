"""Weighted k-NN against an explicit loop, closed situations, and bad arguments."""

import math

import pytest
import torch
from vl_core.features import _knn, knn_accuracy


def draw(seed, count, dimension=5, classes=3):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    centers = torch.randn(classes, dimension, generator=torch.Generator().manual_seed(99))
    return centers[labels] + torch.randn(count, dimension, generator=generator), labels


def knn_loop(train, train_labels, test, test_labels, k, temperature):
    correct = 0
    for row, label in zip(test.tolist(), test_labels.tolist(), strict=True):
        similar = []
        for other, other_label in zip(train.tolist(), train_labels.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(row, other, strict=True))
            similar.append((dot / math.hypot(*row) / math.hypot(*other), other_label))
        votes: dict[int, float] = {}
        for similarity, other_label in sorted(similar, reverse=True)[:k]:
            votes[other_label] = votes.get(other_label, 0.0) + math.exp(similarity / temperature)
        correct += max(votes, key=votes.__getitem__) == label
    return correct / len(test)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.5), (60, 0.07), (60, 100.0)])
def test_equals_an_explicit_loop(k, temperature):
    train, test = draw(0, 60), draw(1, 40)
    expected = knn_loop(*train, *test, k, temperature)
    assert knn_accuracy(*train, *test, k=k, temperature=temperature) == pytest.approx(expected, abs=1e-12)
    assert 0.3 < expected < 1


def test_accuracy_does_not_depend_on_chunks_or_scale(monkeypatch):
    train, test = draw(0, 60), draw(1, 40)
    expected = knn_accuracy(*train, *test, k=7)
    assert knn_accuracy(train[0] * 1e3, train[1], test[0] * 1e-3, test[1], k=7) == expected
    monkeypatch.setattr(_knn, "_CHUNK", 7 * 60)
    assert knn_accuracy(*train, *test, k=7) == expected


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float32, 1e20),
        (torch.float32, 1e-30),
        (torch.float64, 1e200),
        (torch.float64, 1e-30),
        (torch.float64, 1e-200),
    ],
)
def test_scales_beyond_the_range_of_float32s_squares_change_nothing(dtype, scale):
    train, test = draw(0, 60), draw(1, 40)
    expected = knn_accuracy(*train, *test, k=7)
    scaled = train[0].to(dtype) * scale, train[1], test[0].to(dtype) * scale, test[1]
    assert knn_accuracy(*scaled, k=7) == expected


def test_a_row_of_zeros_is_equally_near_to_all():
    train, labels = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1, 1])
    assert knn_accuracy(train, labels, torch.tensor([[-1.0, 0.0]]), torch.tensor([1]), k=1) == 1.0
    assert knn_accuracy(train, labels, torch.zeros(1, 2), torch.tensor([1]), k=3) == 1.0


def test_separate_clusters_are_all_named_whatever_their_labels():
    centers = torch.eye(4) * 10
    labels = torch.tensor([-1, 7, 100, 3]).repeat_interleave(5)
    features = centers.repeat_interleave(5, 0) + torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    assert knn_accuracy(features, labels, features, labels, k=5) == 1.0
    assert knn_accuracy(features, labels, features, labels + 1000, k=5) == 0.0


def test_one_near_neighbor_outvotes_two_far_ones_when_cold():
    train, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1, 1])
    test, truth = torch.tensor([[1.0, 0.6]]), torch.tensor([0])
    assert knn_accuracy(train, labels, test, truth, k=3, temperature=0.07) == 1.0
    assert knn_accuracy(train, labels, test, truth, k=3, temperature=10.0) == 0.0


def test_a_tiny_temperature_is_the_nearest_neighbor():
    train, test = draw(0, 60), draw(1, 40)
    assert knn_accuracy(*train, *test, k=30, temperature=1e-6) == knn_accuracy(*train, *test, k=1)


@pytest.mark.parametrize("k", [0, 61])
def test_k_beyond_the_training_rows_is_an_error(k):
    with pytest.raises(ValueError, match=f"k must lie between 1 and the 60 training rows, got {k}"):
        knn_accuracy(*draw(0, 60), *draw(1, 40), k=k)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_an_error(temperature):
    with pytest.raises(ValueError, match="temperature must be above zero"):
        knn_accuracy(*draw(0, 60), *draw(1, 40), temperature=temperature)
