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

COLUMNS = ("predicted", "undecided", "probability", "margin", "evaluations", "errors", "unreadable")
"""Columns added to a row: the predicted class; True if its margin is within its standard error; its probability; the
margin, which is the paired difference of the runner-up; the number of evaluations; the error under each class in the
order of `classes`; and the reason why the image cannot be read, empty for all others. An unreadable image has no
predicted class (empty) and NaN for all numbers, and costs no evaluation."""


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
        strict: Raise an error for an image that cannot be read, which ends the whole job.
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
        strict: bool = False,
        **settings: Any,
    ) -> None:
        self.image_column, self.strict = image_column, strict
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
            ValueError: If there is no column of images, or one of the columns exists already. If strict, also if an
                image cannot be read; the message names the row.
        """
        if self.image_column not in batch:
            raise ValueError(f"image_column must be one of {', '.join(batch)}, got {self.image_column!r}")
        if taken := [name for name in COLUMNS if name in batch]:
            raise ValueError(f"columns {', '.join(taken)} must not exist in the rows; rename or drop them")
        rows = _Rows(batch[self.image_column])
        found = {
            "predicted": np.full(len(rows), "", object),
            "undecided": np.ones(len(rows), bool),
            "probability": np.full(len(rows), np.nan),
            "margin": np.full(len(rows), np.nan),
            "evaluations": np.zeros(len(rows), np.int64),
            "errors": np.full((len(rows), len(self.classifier.classes)), np.nan),
            "unreadable": np.full(len(rows), "", object),
        }

        def note(row: int, error: Exception) -> None:
            found["unreadable"][row] = " ".join(str(error).split())

        for row, result in self.classifier.stream(rows, on_error=None if self.strict else note):
            found["predicted"][row] = result.predicted_classes[0]
            found["undecided"][row] = result.undecided[0]
            found["probability"][row] = result.probabilities[0, result.predictions[0]]
            found["margin"][row] = result.margins[0]
            found["evaluations"][row] = result.total_evaluations[0]
            found["errors"][row] = result.errors[0]
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
    strict: bool = False,
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
        strict: End the job with an error at the first image that cannot be read, instead of naming the reason in its
            row.
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
        fn_constructor_kwargs={
            "model": model,
            "classes": classes,
            "image_column": image_column,
            "strict": strict,
            **settings,
        },
        batch_size=rows_per_batch,
        batch_format="numpy",
        compute=ActorPoolStrategy(size=concurrency),
        num_gpus=num_gpus or None,
    )


class _Rows(Sequence[Any]):
    """The images of a batch, decoded one by one."""

    def __init__(self, column: np.ndarray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: Any) -> Any:
        value = self._column[row]
        if isinstance(value, bytes | bytearray | memoryview | np.bytes_):
            return read_image(bytes(value), name=f"row {row} of the batch")
        return np.asarray(value)
