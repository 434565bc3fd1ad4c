"""Features come out in order, whatever the batch size, and the model is left as it was."""

import sys

import pytest
import torch
from torch import nn
from vl_core.features import extract


class Pairs:
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


@pytest.fixture
def images():
    return torch.rand(10, 3, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_rows_follow_the_data_set(images, batch_size):
    features, labels = extract(nn.Flatten(), Pairs(images, range(10)), batch_size=batch_size)
    assert torch.equal(features, images.flatten(1))
    assert features.dtype == torch.float32
    assert torch.equal(labels, torch.arange(10))


def test_labels_may_be_tensors_and_are_absent_from_a_bare_tensor(images):
    assert torch.equal(extract(nn.Flatten(), Pairs(images, torch.arange(10)))[1], torch.arange(10))
    features, labels = extract(nn.Flatten(), images, batch_size=4)
    assert torch.equal(features, images.flatten(1))
    assert labels.tolist() == [-1] * 10


def test_any_callable_serves_and_its_output_becomes_float32(images):
    features, _ = extract(lambda batch: batch.mean((2, 3)).half(), images)
    assert features.dtype == torch.float32
    assert features.shape == (10, 3)


def test_the_model_sees_evaluation_mode_and_no_gradient(images):
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.9))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (extract(model, images)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("fails", [False, True])
def test_each_part_gets_its_training_mode_back(images, fails):
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Identity() if fails else nn.Flatten())
    model.train()
    model[1].eval()
    if fails:
        with pytest.raises(ValueError, match="model must return features"):
            extract(model, images)
    else:
        extract(model, images)
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_progress_goes_to_standard_error_only_when_asked_for(images, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    extract(nn.Flatten(), images)
    assert capsys.readouterr() == ("", "")
    extract(nn.Flatten(), images, batch_size=5, progress=True)
    assert "2/2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (lambda x: x[:0], {}, ValueError, "images must not be empty"),
        (lambda x: x, {"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        (lambda x: list(x), {}, TypeError, r"images\[0\] must be a pair of image tensor and label, got Tensor"),
        (lambda x: Pairs(["a"], [1]), {}, TypeError, r"got \(str, int\); vl_core\.data\.image_to_tensor"),
        (lambda x: Pairs(x, ["cat"] * 10), {}, TypeError, r"label of images\[0\] must be an integer, got 'cat'"),
        (
            lambda x: Pairs([x[0], x[1, :, 1:]], [0, 1]),
            {},
            ValueError,
            r"got \(3, 3, 4\) at 1 after \(3, 4, 4\)",
        ),
    ],
)
def test_bad_images_are_named(images, make, options, error, message):
    with pytest.raises(error, match=message):
        extract(nn.Flatten(), make(images), **options)


@pytest.mark.parametrize(
    ("model", "got"),
    [
        (nn.Identity(), r"got \(10, 3, 4, 4\)"),
        (lambda batch: (batch,), "got tuple"),
        (lambda batch: batch.flatten(1)[:5], r"got \(5, 48\)"),
    ],
)
def test_output_that_is_not_one_vector_an_image_is_an_error(images, model, got):
    with pytest.raises(ValueError, match=r"shape \(10, d\) for 10 images, " + got):
        extract(model, images)
