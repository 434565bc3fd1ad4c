"""The linear probe reaches its optimum, chooses its regularization, and repeats."""

import pytest
import torch
from torch.nn.functional import one_hot, softmax
from vl_core.features import knn_accuracy, linear_probe
from vl_core.features._probe import fit


def draw(seed, count, *, spread=1.0, dimension=5, classes=3):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centers = torch.randn(classes, dimension, generator=torch.Generator().manual_seed(99))
    return centers[labels] + spread * torch.randn(count, dimension, generator=generator), labels


@pytest.mark.parametrize("regularization", [1e-4, 0.1, 10.0])
def test_gradient_vanishes_at_the_weights_found(regularization):
    features, labels = draw(0, 90)
    features = features.double()
    weights = fit(features, labels, 3, regularization)
    probability = softmax(features @ weights[:, :-1].T + weights[:, -1], dim=1)
    residual = (probability - one_hot(labels, 3)) / len(labels)
    assert (residual.T @ features + regularization * weights[:, :-1]).abs().max() < 1e-5
    assert residual.sum(0).abs().max() < 1e-5


def test_separate_clusters_are_all_named_whatever_their_labels():
    features, labels = draw(0, 60, spread=0.05)
    names = torch.tensor([-5, 3, 1000])[labels]
    result = linear_probe(features, names, features, names)
    assert result.accuracy == result.class_accuracy == 1.0
    assert torch.equal(result.predictions, names)


def test_class_accuracy_weighs_classes_alike():
    train, labels = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    test, truth = torch.tensor([[-2.0], [-1.0], [-3.0], [-1.0], [2.0]]), torch.tensor([0, 0, 0, 1, 1])
    result = linear_probe(train, labels, test, truth, regularization=0.1)
    assert result.predictions.tolist() == [0, 0, 0, 0, 1]
    assert result.accuracy == pytest.approx(4 / 5)
    assert result.class_accuracy == pytest.approx((1 + 1 / 2) / 2)


def test_a_class_without_training_rows_counts_as_wrong():
    features, labels = draw(0, 60, spread=0.05)
    assert linear_probe(features, labels, features, labels + 3, regularization=0.1).accuracy == 0.0


def test_scale_shift_and_constant_columns_change_nothing():
    train, labels = draw(0, 90)
    test, truth = draw(1, 60)
    plain = linear_probe(train, labels, test, truth, regularization=0.01)
    scale, shift = torch.tensor([1e3, 1e-3, 1.0, 10.0, 0.1]), torch.tensor([5.0, 0.0, -3.0, 100.0, 0.0])
    pad = torch.nn.functional.pad
    moved = linear_probe(
        pad(train * scale + shift, (0, 1), value=0.1), labels, pad(test * scale + shift, (0, 1), value=0.1), truth,
        regularization=0.01,
    )  # fmt: skip
    assert torch.equal(moved.predictions, plain.predictions)


def test_weak_regularization_is_chosen_where_a_small_difference_carries_the_class():
    generator = torch.Generator().manual_seed(0)
    common, labels = 10 * torch.randn(300, 1, generator=generator), torch.arange(300) % 2
    features = torch.cat((common, common + labels[:, None] - 0.5), dim=1)
    train, test = (features[:200], labels[:200]), (features[200:], labels[200:])
    result = linear_probe(*train, *test)
    assert result.regularization < 1e-2
    assert result.accuracy == 1.0
    assert linear_probe(*train, *test, regularization=10.0).accuracy < 0.9


def test_of_equals_the_strongest_regularization_is_chosen():
    train = draw(0, 60, spread=0.01)
    assert linear_probe(*train, *train).regularization == 10.0


def test_the_same_seed_gives_the_same_result():
    train, test = draw(0, 90, spread=2.0), draw(1, 60, spread=2.0)
    first, second = (linear_probe(*train, *test, seed=4) for _ in range(2))
    assert torch.equal(first.predictions, second.predictions)
    assert first.regularization == second.regularization


def test_seed_has_no_effect_on_a_given_regularization():
    train, test = draw(0, 90, spread=2.0), draw(1, 60, spread=2.0)
    first, second = (linear_probe(*train, *test, regularization=0.1, seed=seed) for seed in (0, 1))
    assert torch.equal(first.predictions, second.predictions)
    assert first.regularization == 0.1


def test_works_without_gradients_and_on_low_precision_features():
    train, test = draw(0, 60, spread=0.1), draw(1, 30, spread=0.1)
    with torch.no_grad():
        assert linear_probe(train[0].half(), train[1], test[0].half(), test[1]).accuracy == 1.0


def test_one_row_a_class_cannot_choose_a_regularization():
    features, labels = torch.eye(3), torch.arange(3)
    with pytest.raises(ValueError, match="regularization must be given where no class has two"):
        linear_probe(features, labels, features, labels)
    assert linear_probe(features, labels, features, labels, regularization=0.1).accuracy == 1.0


@pytest.mark.parametrize("regularization", [0.0, -1.0, float("nan")])
def test_regularization_that_is_not_positive_is_an_error(regularization):
    with pytest.raises(ValueError, match="regularization must be above zero"):
        linear_probe(*draw(0, 60), *draw(1, 40), regularization=regularization)


FEATURES, LABELS = torch.eye(4), torch.tensor([0, 0, 1, 1])
BROKEN = FEATURES.clone().index_put((torch.tensor([2]), torch.tensor([1])), torch.tensor(float("nan")))


@pytest.mark.parametrize("evaluate", [knn_accuracy, linear_probe])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((FEATURES, LABELS[:3], FEATURES, LABELS), ValueError, r"train_labels must have shape \(4,\), .* got \(3,\)"),
        ((FEATURES, LABELS, FEATURES, LABELS[None]), ValueError, r"test_labels must have shape \(4,\)"),
        ((BROKEN, LABELS, FEATURES, LABELS), ValueError, "train_features must be finite, .* 1 of 4 rows, .* row 2"),
        ((FEATURES, LABELS, FEATURES / 0, LABELS), ValueError, "test_features must be finite, .* 4 of 4 rows"),
        ((FEATURES, LABELS * 0, FEATURES, LABELS), ValueError, "at least two classes, got only 0"),
        ((FEATURES[:0], LABELS[:0], FEATURES, LABELS), ValueError, r"train_features must have shape .* got \(0, 4\)"),
        ((FEATURES, LABELS, FEATURES[:0], LABELS[:0]), ValueError, "test_features must have shape"),
        ((FEATURES[None], LABELS, FEATURES, LABELS), ValueError, r"got \(1, 4, 4\)"),
        ((FEATURES, LABELS, FEATURES[:, :3], LABELS), ValueError, "test_features must have 4 columns .* got 3"),
        (
            (FEATURES.long(), LABELS, FEATURES, LABELS),
            TypeError,
            "train_features must be a floating tensor, got",
        ),
        ((FEATURES, LABELS.float(), FEATURES, LABELS), TypeError, "train_labels must be an integer tensor"),
        ((FEATURES, [0, 0, 1, 1], FEATURES, LABELS), TypeError, "train_labels must be an integer tensor, got list"),
        ((FEATURES, LABELS, [[1.0]], LABELS), TypeError, "test_features must be a floating tensor, got list"),
    ],
)
def test_bad_arguments_are_named(evaluate, arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(*arguments)
