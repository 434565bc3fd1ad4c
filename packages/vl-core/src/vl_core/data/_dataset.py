"""`ImageDataset`, the data set type of all packages: images with labels, names and optional captions."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from vl_core.data._contents import ImageContents


class ImageDataset(ImageContents, Dataset[tuple[Any, int]]):
    """Images with a label each, as a map-style data set: ``dataset[i]`` is ``(image, label)``.

    The image is a PIL image in mode RGB or L, after ``transform`` where there is one; the label is an index into
    ``classes``, or -1 where the image has none. `open_dataset` makes these; make one yourself from anything that
    reads an image by position.

    Args:
        images: Images by position. It must be picklable for a data loader that starts its workers afresh.
        labels: An integer for each image, -1 for none.
        name: Name of the data set in reports.
        names: A stable identifier for each image, such as ``"fashion/test/00017"`` or its path inside the folder.
        classes: The names that labels index; empty where nothing is labeled.
        split: The split that was opened; None for all of them.
        captions: A sentence for each image, or None.
        metadata: Further fields of each image, or None.
        transform: Applied to each PIL image when it is read.
        skipped: Images left out because they could not be read: name and reason.
        passed_over: What lies among the images and is not read, such as a file that is not named like an image: name
            and reason.

    Raises:
        ValueError: If the lengths disagree or a label has no class.
    """

    @classmethod
    def of(cls, contents: ImageContents) -> ImageDataset:
        """The same images as a data set of PyTorch, sharing files and arrays."""
        result = object.__new__(cls)
        result.__dict__.update(contents.__dict__)
        return result
