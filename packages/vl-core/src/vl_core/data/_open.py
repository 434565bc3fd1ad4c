"""`open_dataset`: open a data set by name or path."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from vl_core.data._contents import Transform
from vl_core.data._dataset import ImageDataset
from vl_core.data._folder import count_reasons
from vl_core.data._kinds import open_contents
from vl_core.data._modes import checked_range

OnError = Literal["raise", "skip"]

_logger = logging.getLogger(__name__)


def open_dataset(
    spec: str | os.PathLike[str],
    *,
    split: str | None = None,
    default_split: str | None = None,
    transform: Transform | None = None,
    on_error: OnError = "raise",
    exclude: str | os.PathLike[str] | None = None,
    pixel_range: Sequence[float] | None = None,
) -> ImageDataset:
    """Open a data set of images by name or by path.

    Args:
        spec: One of

            - ``"fashion"`` (10,000 + 2,000 of Fashion-MNIST), ``"emoji"`` or one style of it, ``"emoji:noto"``,
              ``"emoji:twemoji"``, ``"emoji:fluent"``: these ship with the package;
            - ``"fashion-mnist"``: all 70,000, from ``$VL_DATA``, Debian's package or torchvision's folder;
            - an image folder: flat, or a sub-folder a class, or either inside ``train/``, ``val/`` and ``test/``;
            - an ``.npz`` file with ``x`` or ``images`` and perhaps ``y``, ``classes``, ``captions``, ``split``;
            - a ``.parquet`` file with a column ``image`` or ``img`` of bytes (extra ``vl-core[parquet]``);
            - ``"hf:owner/name"``, or a folder written by ``save_to_disk`` (extra ``vl-core[huggingface]``).

            A name wins over a folder of the same name; write ``./fashion`` for the folder.
        split: ``"train"``, ``"val"`` (also ``"validation"``, ``"valid"``) or ``"test"``, or what else the data set
            calls its parts; None takes all of them, in this order.
        default_split: Split to take if ``split`` is None and the data set has splits; a set without splits is taken
            whole.
        transform: Applied to each image, a PIL image in mode RGB or L, when it is read.
        on_error: What becomes of an image that cannot be read. With ``"raise"`` nothing is read in advance and the
            error comes when the image is asked for. With ``"skip"`` every image is decoded once now, on several
            threads; those that fail are left out, so that lengths, labels and names agree from the start, listed in
            ``dataset.skipped`` and counted in a log message.
        exclude: A folder inside an image folder that is passed over, such as the one that results are written to; other
            kinds of data sets take no notice of it.
        pixel_range: The values of 16-bit and floating-point grayscale that become black and white, such as
            ``(0, 4095)`` for 12-bit images in 16-bit files; values beyond are clipped. 8-bit images, colors and
            built-in sets are not changed. By default ``(0, 65535)`` and ``(0, 1)``.

    Returns:
        The data set. Its ``passed_over`` names what lies in an image folder and is not read: files that are not named
        like images, and links to folders that are read already. Links to files, and to folders elsewhere, are followed.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ModuleNotFoundError: If an extra is missing; it is named.
        UndividedError: If a split is asked for and the data set has none; a ValueError.
        ValueError: If the spec is not understood, the split does not exist, or the contents are not as they must be.

    Example:
        >>> dataset = open_dataset("fashion", split="test")
        >>> image, label = dataset[0]
        >>> len(dataset), image.size, dataset.classes[label]
        (2000, (28, 28), 'T-shirt/top')
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    folder = None if exclude is None else Path(exclude)
    window = checked_range(pixel_range)
    dataset = ImageDataset.of(open_contents(spec, split, default_split, folder, window))
    if dataset.passed_over:
        counts = count_reasons(dataset.passed_over)
        _logger.warning("passed over in %s (%d in all): %s", dataset.name, len(dataset.passed_over), counts)
    if on_error == "skip":
        dataset = _readable(dataset)
    dataset.transform = transform
    return dataset


def _readable(dataset: ImageDataset) -> ImageDataset:
    """Keep the images that can be read, reading each once."""

    def reason(index: int) -> str | None:
        try:
            dataset[index]
        # ImageError is a ValueError; a vanished or unreadable file is an OSError.
        except (ValueError, OSError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        reasons = list(pool.map(reason, range(len(dataset))))
    skipped = [(dataset.names[i], cause) for i, cause in enumerate(reasons) if cause is not None]
    if skipped:
        _logger.warning(
            "skipped %d of %d images of %s; the first: %s", len(skipped), len(dataset), dataset.name, skipped[0][1]
        )
    kept = dataset.subset(i for i, cause in enumerate(reasons) if cause is None)
    kept.skipped = tuple(skipped)
    return kept
