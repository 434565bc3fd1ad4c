"""Classify collections of images that outgrow one machine with Ray Data; requires the extra `ray`.

The noise depends on an image's pixels, so the result of a row equals that of :meth:`DiffusionClassifier.classify`,
independent of batches, workers and their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vl_core.data import read_image

from vl_diffusion.classification.classifier import DiffusionClassifier

if TYPE_CHECKING:
    from ray.data import Dataset

COLUMNS = ("predicted", "probability", "margin", "evaluations", "errors")
"""Columns added to a row: the predicted class, its probability, the paired difference of the runner-up, the number of
evaluations, and the error under each class in the order of `classes`."""


class ClassifyBatch:
    """Classifies batches of rows; constructed once per worker, which keeps the model.

    ``dataset.map_batches(ClassifyBatch, fn_constructor_kwargs={"model": ..., "classes": [...]}, batch_size=64,
    compute=ray.data.ActorPoolStrategy(size=2))`` is what :func:`classify_dataset` does.

    Args:
        model: The name of a built-in model, a local folder that all workers can read, a hub id, or an object that can
            be pickled; see :class:`~vl_diffusion.DiffusionClassifier`.
        classes: Class names; default: the model's own.
        image_column: The column of images: uint8 arrays ``(H, W)`` or ``(H, W, 3)``, or the bytes of encoded files.
        device: Device to compute on; default: the GPU if Ray assigned one to the worker, else the CPU.
        **settings: Other arguments of the classifier.

    Raises:
        ValueError: As for :class:`~vl_diffusion.DiffusionClassifier`.

    Example:
        >>> from vl_core.data import open_dataset
        >>> images = open_dataset("fashion", split="test")
        >>> rows = {"image": np.stack([np.asarray(images[i][0]) for i in range(2)])}
        >>> ClassifyBatch("fashion", ["trouser", "bag"])(rows)["errors"].shape
        (2, 2)
    """

    def __init__(
        self,
        model: Any,
        classes: Sequence[str] | None = None,
        *,
        image_column: str = "image",
        device: str | None = None,
        **settings: Any,
    ) -> None:
        self.image_column = image_column
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if isinstance(model, str | Path):
            self.classifier = DiffusionClassifier.from_pretrained(model, classes, device=device, **settings)
        else:
            self.classifier = DiffusionClassifier(model, classes, device=device, **settings)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Add `COLUMNS` to a batch of rows.

        Args:
            batch: Columns of B rows, in Ray's ``"numpy"`` format.

        Raises:
            ValueError: If there is no column of images, one of the columns exists already, or an image cannot be read;
                the message names the row.
        """
        if self.image_column not in batch:
            raise ValueError(f"image_column must be one of {', '.join(batch)}, got {self.image_column!r}")
        if taken := [name for name in COLUMNS if name in batch]:
            raise ValueError(f"columns {', '.join(taken)} must not exist in the rows; rename or drop them")
        images = [_decoded(value, i) for i, value in enumerate(batch[self.image_column])]
        result = self.classifier.classify(images)
        rows = np.arange(len(images))
        found = {
            "predicted": np.array(result.predicted_classes, object),
            "probability": result.probabilities[rows, result.predictions],
            "margin": result.margins,
            "evaluations": result.total_evaluations,
            "errors": result.errors,
        }
        return {**batch, **found}


def classify_dataset(
    dataset: Dataset,
    model: Any,
    classes: Sequence[str] | None = None,
    *,
    image_column: str = "image",
    concurrency: int = 1,
    num_gpus: float = 0,
    rows_per_batch: int = 64,
    **settings: Any,
) -> Dataset:
    """Add `COLUMNS` to a Ray data set, lazily.

    Args:
        dataset: Rows with one image each, such as those of ``ray.data.read_images`` or ``ray.data.read_parquet``.
        model: See :class:`ClassifyBatch`.
        classes: Class names; default: the model's own.
        image_column: The column of images.
        concurrency: Number of workers, each with its own model and CPU; Ray needs further CPUs to read the rows.
        num_gpus: GPUs per worker; a fraction lets several workers share one.
        rows_per_batch: Images per batch of a worker; results do not depend on it.
        **settings: Other arguments of the classifier.

    Raises:
        ModuleNotFoundError: If Ray is not installed; the message names the extra.
        ValueError: If a number is out of range.
    """
    try:
        from ray.data import ActorPoolStrategy
    except ModuleNotFoundError as error:
        if error.name not in ("ray", "ray.data"):
            raise
        raise ModuleNotFoundError(
            "ray is not installed; it comes with `pip install 'vl-diffusion[ray]'`", name="ray"
        ) from error
    for name, value in {"concurrency": concurrency, "rows_per_batch": rows_per_batch}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    return dataset.map_batches(
        ClassifyBatch,
        fn_constructor_kwargs={"model": model, "classes": classes, "image_column": image_column, **settings},
        batch_size=rows_per_batch,
        batch_format="numpy",
        compute=ActorPoolStrategy(size=concurrency),
        num_gpus=num_gpus or None,
    )


def _decoded(value: Any, row: int) -> Any:
    if isinstance(value, bytes | bytearray | memoryview | np.bytes_):
        return read_image(bytes(value), name=f"row {row} of the batch")
    return np.asarray(value)
