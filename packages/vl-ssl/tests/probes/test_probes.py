"""Probes: known answers, what is stored beside an accuracy, flat memory, an untouched backbone, and refusals."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from vl_core.data import ImageDataset
from vl_core.features import knn_accuracy, linear_probe
from vl_ssl.backbones.building import small_resnet
from vl_ssl.probes.images import ImageTensors, image_tensors
from vl_ssl.probes.offline import KNNProbe, LinearProbe, ProbeAccuracy
from vl_ssl.probes.online import OnlineLinearProbe


def bars(count: int, seed: int, channels: int = 1) -> ImageTensors:
    """Noisy images with a bright row or a bright column, uint8."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    pixels = torch.randint(120, (count, channels, 8, 8), generator=generator, dtype=torch.uint8)
    for image, label in zip(pixels, labels, strict=True):
        (image if label else image.mT)[:, 3] = 255
    return ImageTensors(pixels, labels)


def buffers(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.named_buffers()}


def test_knn_equals_the_evaluation_of_its_features_and_stores_all_that_it_depends_on() -> None:
    train, test = bars(60, seed=0), bars(41, seed=1)
    found = KNNProbe(train, test, k=5, temperature=0.1, batch_size=7)(nn.Flatten())
    features = [side.images.flatten(1) / 255 for side in (train, test)]
    expected = knn_accuracy(features[0], train.labels, features[1], test.labels, k=5, temperature=0.1)
    assert found == ProbeAccuracy("knn", expected, 60, 41, 2, "l2", k=5, temperature=0.1)
    assert found.row() == {
        "probe": "knn", "accuracy": expected, "bank_size": 60, "test_size": 41, "num_classes": 2,
        "normalization": "l2", "k": 5, "temperature": 0.1,
    }  # fmt: skip
    assert expected > 0.9


def test_linear_probe_equals_the_evaluation_of_its_features() -> None:
    train, test = bars(60, seed=0), bars(40, seed=1)
    found = LinearProbe(train, test, seed=3)(nn.Flatten())
    features = [side.images.flatten(1) / 255 for side in (train, test)]
    expected = linear_probe(features[0], train.labels, features[1], test.labels, seed=3)
    assert (found.accuracy, found.regularization) == (expected.accuracy, expected.regularization)
    assert found.normalization == "standardized"


def test_the_bank_is_capped_in_proportion_and_unlabeled_images_are_left_out() -> None:
    images = bars(90, seed=0)
    images.labels[:30] = -1
    probe = KNNProbe(images, images, k=3, max_bank=20)
    assert probe._data.train.labels.bincount().tolist() == [10, 10]
    found = probe(nn.Flatten())
    assert (found.bank_size, found.test_size) == (20, 60)


@pytest.mark.parametrize("probe", [KNNProbe, LinearProbe, "online"])
def test_buffers_are_bit_identical_after_a_probe_and_modes_are_restored(probe: Any) -> None:
    backbone = small_resnet(2, (1, 1, 1, 1)).train()
    backbone.network.layer2.eval()  # frozen by its owner
    images = bars(24, seed=0)
    before, modes = buffers(backbone), [part.training for part in backbone.modules()]
    if probe == "online":
        OnlineLinearProbe(backbone.num_features, 2).accuracy(backbone, images)
    else:
        probe(images, images, **({"k": 3} if probe is KNNProbe else {"regularization": 0.1}))(backbone)
    after = buffers(backbone)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert [part.training for part in backbone.modules()] == modes
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_memory_is_flat_over_ten_evaluations() -> None:
    resource = pytest.importorskip("resource", reason="Windows counts memory in another way")
    images = ImageTensors(torch.randint(256, (2000, 1, 16, 16), dtype=torch.uint8), torch.arange(2000) % 4)
    probe = KNNProbe(images, images)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(256, 512))

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    for _ in range(3):
        probe(backbone)
    count, peak = tensors(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    accuracies = {probe(backbone).accuracy for _ in range(10)}
    assert tensors() == count
    # An evaluation holds two times 4 MB of features and 16 MB of similarities.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 4096
    assert len(accuracies) == 1


def test_images_of_a_data_set_are_resized_converted_and_chosen_in_proportion() -> None:
    source = [Image.fromarray(np.full((20, 30), 10 * i, np.uint8)) for i in range(12)]
    labels = [0, 1, 2, -1] * 3
    dataset = ImageDataset(source, labels, name="toy", names=[str(i) for i in range(12)], classes=("a", "b", "c"))
    images = image_tensors(dataset, size=8, channels=3)
    assert images.images.shape == (9, 3, 8, 8)
    assert images.images[:, 0, 0, 0].tolist() == [10 * i for i in range(12) if labels[i] >= 0]
    assert image_tensors(dataset, size=8, channels=1, limit=6, seed=1).labels.bincount().tolist() == [2, 2, 2]
    image, label = images[-1]
    assert torch.allclose(image, torch.full((3, 8, 8), 100 / 255))
    assert label == 2


def test_online_probe_steps_equal_pytorchs_sgd_on_its_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    probe = OnlineLinearProbe(5, 3, learning_rate=0.2, weight_decay=0.01)
    norm, head = nn.BatchNorm1d(5, affine=False), nn.Linear(5, 3)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    groups = [{"params": [head.weight], "weight_decay": 0.01}, {"params": [head.bias]}]
    optimizer = torch.optim.SGD(groups, lr=0.2, momentum=0.9)
    for _ in range(4):
        features, labels = torch.randn(8, 5, generator=generator), torch.randint(3, (8,), generator=generator)
        step = probe.update(features.requires_grad_(), labels)
        logits = head(norm(features.detach()))
        loss = nn.functional.cross_entropy(logits, labels)
        assert torch.allclose(step.loss, loss, atol=1e-6)
        assert step.accuracy == (logits.argmax(1) == labels).float().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert features.grad is None
    assert torch.allclose(probe.weight, head.weight, atol=1e-6)
    assert torch.allclose(probe.bias, head.bias, atol=1e-6)
    assert torch.allclose(probe(features), head(norm.eval()(features)), atol=1e-5)


def test_online_probe_continues_from_its_state_and_passes_unlabeled_rows_over() -> None:
    images = bars(64, seed=2)
    pixels, labels = images.batch(slice(None)).flatten(1), images.labels.clone()
    first, second = OnlineLinearProbe(64, 2), OnlineLinearProbe(64, 2)
    for _ in range(3):
        first.update(pixels, labels)
    second.load_state_dict(first.state_dict())
    more = torch.cat((pixels, torch.full((2, 64), 1e6)))
    for _ in range(30):
        first.update(pixels, labels)
        second.update(more, torch.cat((labels, torch.tensor([-1, -1]))))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    nothing = first.update(pixels[:2], torch.tensor([-1, 0]))
    assert nothing.loss.isnan()
    found = first.accuracy(nn.Flatten(), bars(40, seed=3))
    assert found.accuracy > 0.9
    assert (found.probe, found.bank_size, found.test_size) == ("online", 33 * 64, 40)
    assert not list(first.parameters())


ONE_CLASS = ImageTensors(torch.zeros(4, 1, 8, 8), torch.ones(4, dtype=torch.int64))
UNLABELED = ImageTensors(torch.zeros(4, 1, 8, 8), torch.full((4,), -1))
TWO = bars(6, seed=0)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: KNNProbe(ONE_CLASS, TWO), ValueError, "at least two classes, got only 1 in 4 images"),
        (lambda: LinearProbe(ONE_CLASS, TWO), ValueError, "at least two classes"),
        (lambda: KNNProbe(UNLABELED, TWO), ValueError, "train must hold labeled images, got 4 without a label"),
        (lambda: KNNProbe(TWO, UNLABELED), ValueError, "test must hold labeled images"),
        (lambda: KNNProbe(TWO, bars(6, 0, channels=3)), ValueError, r"images \(1, 8, 8\) like train, got \(3, 8, 8\)"),
        (lambda: KNNProbe(TWO, TWO), ValueError, "k must lie between 1 and the 6 images of the bank, got 20"),
        (lambda: KNNProbe(TWO, TWO, k=6, max_bank=4), ValueError, "the 4 images of the bank"),
        (lambda: KNNProbe(TWO, TWO, k=1, temperature=0), ValueError, "temperature must be above zero"),
        (lambda: KNNProbe(TWO, TWO, k=1, batch_size=0), ValueError, "max_bank and batch_size"),
        (lambda: KNNProbe([1], TWO), TypeError, "must be ImageTensors, got list"),  # type: ignore[arg-type]
        (lambda: LinearProbe(TWO, TWO, regularization=0.0), ValueError, "regularization must be above zero"),
        (lambda: KNNProbe(TWO, TWO, k=1)(nn.Identity()), ValueError, r"features of shape \(6, d\).*pool"),
        (lambda: KNNProbe(TWO, TWO, k=1)(torch.flatten), TypeError, "torch.nn.Module"),  # type: ignore[arg-type]
        (lambda: ImageTensors(torch.zeros(4, 8, 8), [0] * 4), ValueError, r"shape \(n, C, H, W\)"),
        (lambda: ImageTensors(torch.full((4, 1, 8, 8), 255.0), [0] * 4), ValueError, r"in \[0, 1\], got 255 to 255"),
        (lambda: ImageTensors(torch.full((4, 1, 8, 8), torch.nan), [0] * 4), ValueError, r"in \[0, 1\], got nan"),
        (lambda: ImageTensors(torch.zeros(4, 1, 8, 8), [0] * 3), ValueError, r"shape \(4,\)"),
        (lambda: ImageTensors(torch.zeros(1, 1, 8, 8), [0.5]), TypeError, "labels must be integers"),  # type: ignore[list-item]
        (lambda: ImageTensors(torch.zeros(1, 1, 8, 8).long(), [0]), TypeError, "uint8 or floating"),
        (lambda: image_tensors(TWO, size=8, channels=13), ValueError, "channels must be 1 or 3"),  # type: ignore[arg-type]
        (lambda: image_tensors(TWO, size=0, channels=1), ValueError, "size and limit"),  # type: ignore[arg-type]
        (lambda: OnlineLinearProbe(4, 1), ValueError, "num_classes at least 2"),
        (lambda: OnlineLinearProbe(4, 2, momentum=1.0), ValueError, "momentum"),
        (lambda: OnlineLinearProbe(4, 2).update(torch.zeros(3, 5), torch.zeros(3)), ValueError, r"shapes \(B, 4\)"),
        (lambda: OnlineLinearProbe(4, 2).update(torch.zeros(3, 4), torch.zeros(3)), TypeError, "integers"),
        (lambda: OnlineLinearProbe(4, 2).update(torch.zeros(1, 4), torch.tensor([2])), ValueError, r"-1\.\.1"),
        (lambda: OnlineLinearProbe(4, 2).accuracy(nn.Flatten(), TWO), ValueError, "must give 4 features, got 64"),
        (lambda: OnlineLinearProbe(4, 2).accuracy(nn.Flatten(), UNLABELED), ValueError, "labeled images"),
    ],
)  # fmt: skip
def test_what_no_accuracy_can_be_measured_on_is_refused(
    attempt: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        attempt()
