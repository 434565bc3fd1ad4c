"""k-NN and linear accuracy of a frozen backbone, as often as one likes during a training and after.

Evaluations are those of `vl_core.features`. A probe holds its images and nothing else: features are on the CPU while it
runs, at most ``max_bank`` of the bank, and similarities are computed in blocks. The backbone is left as it was, bit by
bit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from vl_core.features import extract, knn_accuracy, linear_probe

from vl_ssl.backbones.checking import evaluating
from vl_ssl.probes.images import ImageTensors, labeled_rows


@dataclass(frozen=True)
class ProbeAccuracy:
    """Accuracy of a probe together with what it was measured with."""

    probe: Literal["knn", "linear", "online"]
    """Kind of the probe."""
    accuracy: float
    """Share of test images whose class is predicted, in [0, 1]."""
    bank_size: int
    """Labeled images that it learned from; for an online probe, those that it has seen, repeats counted."""
    test_size: int
    """Images that the accuracy is measured on."""
    num_classes: int
    """Classes among the images learned from."""
    normalization: Literal["l2", "standardized", "batch"]
    """Normalization of features: to unit length, or to mean 0 and deviation 1 by the bank's or by running moments."""
    k: int | None = None
    """Neighbors that vote."""
    temperature: float | None = None
    """Temperature of the neighbors' weights."""
    regularization: float | None = None
    """Penalty of a linear probe, given or chosen."""

    def row(self) -> dict[str, Any]:
        """All of it by name, without what does not apply, for a table or a log."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class KNNProbe:
    """Accuracy of the weighted k-nearest-neighbor classifier on a backbone's features.

    Wu et al., 2018, section 3.4; see `vl_core.features.knn_accuracy`. Features are normalized to unit length.

    Args:
        train: Labeled images of the bank; those without a label (-1) are left out, here and in ``test``.
        test: Labeled images that the accuracy is measured on.
        k: Neighbors that vote.
        temperature: Of their weights, ``exp(similarity / temperature)``.
        max_bank: Largest number of images in the bank, chosen at random with all classes in proportion.
        batch_size: Images a forward pass.
        seed: Of the choice.

    Raises:
        TypeError: If images are no `ImageTensors`.
        ValueError: If no image is labeled, there is but one class, shapes differ, or a number is out of range.

    Example:
        >>> images = ImageTensors(torch.rand(40, 1, 8, 8), torch.arange(40) % 2)
        >>> accuracy = KNNProbe(images, images, k=1)(nn.Flatten())
        >>> accuracy.accuracy, accuracy.bank_size, accuracy.k, accuracy.temperature
        (1.0, 40, 1, 0.07)
    """

    def __init__(
        self,
        train: ImageTensors,
        test: ImageTensors,
        *,
        k: int = 20,
        temperature: float = 0.07,
        max_bank: int = 50_000,
        batch_size: int = 256,
        seed: int = 0,
    ):
        self._data = _ProbeData(train, test, max_bank=max_bank, batch_size=batch_size, seed=seed)
        bank = len(self._data.train)
        if not 1 <= k <= bank:
            raise ValueError(f"k must lie between 1 and the {bank} images of the bank, got {k}")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be above zero and finite, got {temperature}")
        self.k, self.temperature = k, temperature

    def __call__(self, backbone: nn.Module) -> ProbeAccuracy:
        """Measure a backbone, from images ``(B, C, H, W)`` in [0, 1] to features ``(B, d)``.

        Its modes and buffers are afterwards bit for bit as they were.

        Raises:
            TypeError: If it is no module.
            ValueError: If its features are not of shape ``(B, d)``, or not finite.
        """
        features = self._data.features(backbone)
        accuracy = knn_accuracy(*features, k=self.k, temperature=self.temperature)
        return ProbeAccuracy(
            "knn", accuracy, **self._data.sizes(), normalization="l2", k=self.k, temperature=self.temperature
        )


class LinearProbe:
    """Accuracy of logistic regression on a backbone's standardized features, fitted to its optimum.

    See `vl_core.features.linear_probe`: there is no learning rate to tune.

    Args:
        train: Labeled images to fit to; those without a label (-1) are left out, here and in ``test``.
        test: Labeled images that the accuracy is measured on.
        regularization: Above zero; None chooses it on a fifth of each training class.
        max_bank: Largest number of images to fit to, chosen at random with all classes in proportion.
        batch_size: Images a forward pass.
        seed: Of the choices.

    Raises:
        TypeError: If images are no `ImageTensors`.
        ValueError: If no image is labeled, there is but one class, shapes differ, or a number is out of range.

    Example:
        >>> images = ImageTensors(torch.rand(40, 1, 8, 8), torch.arange(40) % 2)
        >>> LinearProbe(images, images, regularization=1e-6)(nn.Flatten()).accuracy
        1.0
    """

    def __init__(
        self,
        train: ImageTensors,
        test: ImageTensors,
        *,
        regularization: float | None = None,
        max_bank: int = 50_000,
        batch_size: int = 256,
        seed: int = 0,
    ):
        self._data = _ProbeData(train, test, max_bank=max_bank, batch_size=batch_size, seed=seed)
        if regularization is not None and not 0 < regularization < float("inf"):
            raise ValueError(f"regularization must be above zero and finite, got {regularization}")
        self.regularization, self.seed = regularization, seed

    def __call__(self, backbone: nn.Module) -> ProbeAccuracy:
        """Fit and measure on a backbone's features; arguments, errors and promises are those of `KNNProbe`."""
        features = self._data.features(backbone)
        result = linear_probe(*features, regularization=self.regularization, seed=self.seed)
        return ProbeAccuracy(
            "linear",
            result.accuracy,
            **self._data.sizes(),
            normalization="standardized",
            regularization=result.regularization,
        )


class _ProbeData:
    """Images of both sides, capped and checked once."""

    def __init__(self, train: ImageTensors, test: ImageTensors, *, max_bank: int, batch_size: int, seed: int):
        if max_bank < 1 or batch_size < 1:
            raise ValueError(f"max_bank and batch_size must be at least 1, got {max_bank} and {batch_size}")
        sides = []
        for what, images, limit in (("train", train, max_bank), ("test", test, None)):
            if not isinstance(images, ImageTensors):
                raise TypeError(
                    f"{what} must be ImageTensors, got {type(images).__name__}; "
                    "image_tensors(dataset, size=, channels=) makes them"
                )
            rows = labeled_rows(images.labels, limit, seed=seed, what=what)
            sides.append(images if len(rows) == len(images) else images.subset(rows))
        self.train, self.test = sides
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise ValueError(
                f"test must hold images {tuple(self.train.images.shape[1:])} like train, "
                f"got {tuple(self.test.images.shape[1:])}"
            )
        self.classes = torch.unique(self.train.labels)
        if len(self.classes) < 2:
            raise ValueError(
                f"train must hold at least two classes, got only {int(self.classes[0])} in {len(self.train)} images; "
                "an accuracy says nothing there: use images of several labeled classes"
            )
        self._batch_size = batch_size

    def features(self, backbone: nn.Module) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features and labels of the bank and of the test images, on the CPU."""
        if not isinstance(backbone, nn.Module):
            raise TypeError(f"backbone must be a torch.nn.Module, got {type(backbone).__name__}")
        with evaluating(backbone):
            bank, test = (frozen_features(backbone, images, self._batch_size) for images in (self.train, self.test))
        return bank, self.train.labels, test, self.test.labels

    def sizes(self) -> dict[str, int]:
        """Numbers of images and classes, for an accuracy."""
        return {"bank_size": len(self.train), "test_size": len(self.test), "num_classes": len(self.classes)}


def frozen_features(backbone: nn.Module, images: ImageTensors, batch_size: int) -> Tensor:
    """Features ``(n, d)`` on the CPU of a backbone that `evaluating` looks after."""
    first = next(backbone.parameters(), torch.zeros(()))

    def network(batch: Tensor) -> Tensor:
        pixels = batch.float() / 255 if batch.dtype == torch.uint8 else batch.float()
        features: Tensor = backbone(pixels.to(first.dtype))
        return features

    features, _ = extract(network, images.images, batch_size=batch_size, device=first.device)
    return features
