"""Features of a frozen model for every image of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vl_core.progress import progress_bar


class LabeledImages(Sized, Protocol):
    """A map-style data set of image tensors ``(C, H, W)`` with integer labels."""

    def __getitem__(self, index: int, /) -> tuple[Tensor, Any]:
        """Image and label at ``index``."""


def extract(
    model: Callable[[Tensor], Tensor],
    images: LabeledImages | Tensor,
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> tuple[Tensor, Tensor]:
    """Features of all images, in order, without gradients and with the model in evaluation mode.

    A module gets back the training mode of each of its parts, whatever happens.

    Args:
        model: Maps images ``(B, C, H, W)`` to features ``(B, d)``. It is not moved.
        images: Data set whose items are an image tensor ``(C, H, W)`` and an integer label, or images ``(n, C, H, W)``.
        batch_size: Images a call.
        device: Where images are sent; by default where the model's first parameter is, or the CPU.
        progress: Whether to show a progress bar.

    Returns:
        Features ``(n, d)``, float32, and labels ``(n,)``, int64, both on the CPU. Images given as a tensor have no
        labels: theirs are -1.

    Raises:
        TypeError: If an item is not a pair of a tensor and an integer.
        ValueError: If there are no images, ``batch_size`` is below one, images differ in shape, or the model returns
            anything but one vector an image.

    Example:
        >>> features, labels = extract(nn.Flatten(), torch.zeros(10, 3, 8, 8))
        >>> features.shape
        torch.Size([10, 192])
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    count = len(images)
    if count == 0:
        raise ValueError("images must not be empty")
    target = _device_of(model) if device is None else torch.device(device)
    features, labels = [], []
    with _evaluating(model), torch.no_grad():
        for start in progress_bar(range(0, count, batch_size), desc="features", unit="batch", disable=not progress):
            batch, batch_labels = _batch(images, start, min(start + batch_size, count))
            output = model(batch.to(target))
            if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(batch):
                got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise ValueError(
                    f"model must return features of shape ({len(batch)}, d) for {len(batch)} images, got {got}; "
                    "pool or flatten them"
                )
            features.append(output.to("cpu", torch.float32))
            labels.append(batch_labels)
    return torch.cat(features), torch.cat(labels)


def _batch(images: LabeledImages | Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
    if isinstance(images, Tensor):
        return images[start:stop], torch.full((stop - start,), -1)
    batch: list[Tensor] = []
    labels: list[int] = []
    for index in range(start, stop):
        item = images[index]
        if not isinstance(item, tuple | list) or len(item) != 2 or not isinstance(item[0], Tensor):
            raise TypeError(
                f"images[{index}] must be a pair of image tensor and label, got {_describe(item)}; "
                "vl_core.data.image_to_tensor as the data set's transform makes tensors of images"
            )
        if batch and item[0].shape != batch[0].shape:
            raise ValueError(
                f"images must have one shape, got {tuple(item[0].shape)} at {index} after {tuple(batch[0].shape)}; "
                "resize or crop them"
            )
        batch.append(item[0])
        labels.append(_label(index, item[1]))
    return torch.stack(batch), torch.tensor(labels, dtype=torch.int64)


def _label(index: int, label: Any) -> int:
    value = label.item() if hasattr(label, "item") else label
    if not isinstance(value, int):
        raise TypeError(f"the label of images[{index}] must be an integer, got {value!r}")
    return value


def _describe(item: Any) -> str:
    if isinstance(item, tuple | list):
        return f"({', '.join(type(part).__name__ for part in item)})"
    return type(item).__name__


def _device_of(model: Callable[[Tensor], Tensor]) -> torch.device:
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def _evaluating(model: Callable[[Tensor], Tensor]) -> Iterator[None]:
    # Part by part: a model in training may hold batch norms that its owner froze in evaluation mode.
    modes = {module: module.training for module in model.modules()} if isinstance(model, nn.Module) else {}
    try:
        for module in modes:
            module.training = False
        yield
    finally:
        for module, training in modes.items():
            module.training = training
