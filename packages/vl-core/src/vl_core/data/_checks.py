"""A look at the images of a command before it imports anything that takes seconds: PyTorch, or a model library.

The places of images are found and, where that is cheap, read; whoever runs the command opens them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl_core.data._huggingface import is_saved_dataset
from vl_core.data._image import read_image
from vl_core.data._kinds import open_contents
from vl_core.data._specs import BUILTIN_NAMES, UNDERSTOOD, check_source
from vl_core.data._subsets import balanced_order
from vl_core.runs.processes import current_process
from vl_core.tables import printable

# What else goes wrong concerns all images.
_READ_ERRORS = (OSError, TypeError, ValueError)

_DATA_SET_FILES = (".npz", ".parquet")

# An archive of arrays is read whole, twice if it is looked at before.
_LARGEST_ARCHIVE = 100 * 1024**2

# Images that a message lists; the rest are counted.
_LISTED = 10
_REFUSED = 100


@dataclass(frozen=True)
class ImageFault:
    """An image that cannot be read, and why."""

    name: str
    """Name of the image."""

    reason: str
    """The fault, on one line."""

    def __str__(self) -> str:
        return f"{printable(self.name)}: {self.reason}"

    @classmethod
    def of(cls, name: str, error: Exception) -> ImageFault:
        """The fault that reading an image has raised."""
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        plain, text = (" ".join(words.split()) for words in (name, text))
        _, found, rest = text.partition(plain)
        return cls(name, printable(rest.lstrip(": ") if found and rest else text))


@dataclass(frozen=True)
class _Image:
    name: str
    label: str | None
    read: Callable[[], Any]


def check_images(
    specs: Sequence[str],
    argument: str = "images",
    *,
    split: str | None = None,
    default_split: str | None = None,
    split_argument: str = "split",
    exclude: Path | None = None,
    limit: int | None = None,
    files: bool = True,
    labeled: bool = False,
    strict: bool = False,
) -> None:
    """Check that the images of a command can be used, as far as that can be seen without PyTorch.

    Data sets of Hugging Face and large archives are not opened. Of several processes only the first one looks.

    Args:
        specs: Image files, or what `open_dataset` takes.
        argument: Name of the argument in errors.
        split: See `open_dataset`.
        default_split: See `open_dataset`.
        split_argument: Name of the argument that gives the split, in errors.
        exclude: See `open_dataset`.
        limit: Maximum number of images, balanced over classes; the others are not read.
        files: Whether single image files are accepted.
        labeled: Whether images without a label are left out, so that one must have a label.
        strict: Read all images, and refuse any that cannot be read; otherwise one that can be read is enough.

    Raises:
        FileNotFoundError: If a file or folder does not exist.
        ModuleNotFoundError: If a kind of data set needs an extra that is not installed.
        ValueError: If a data set cannot be opened or has no such split, no image can be read or has a label, or, if
            strict, one cannot be read.
    """
    if not specs or not current_process().is_main:
        return
    found: list[_Image] = []
    unknown = False
    for spec in specs:
        check_source(spec, argument)
        if _is_image_file(spec):
            if not files:
                raise ValueError(f"{argument} must be {UNDERSTOOD}, got the file {spec}")
            found.append(_Image(spec, None, lambda path=Path(spec): read_image(path)))  # type: ignore[misc]
            continue
        contents = _opened(spec, argument, split, default_split, split_argument, exclude)
        unknown = unknown or contents is None
        found += contents or []
    kept = [image for image in found if image.label is not None] if labeled else found
    if not found and not unknown:
        raise ValueError(f"{argument} must have at least one image, got none in {', '.join(specs)}")
    if not kept and not unknown:
        # A file that is no image has no label either, and that is not its fault.
        _check_readable(found, argument)
        raise ValueError(
            f"{argument} must have labels, got none; give a folder with a subfolder per class, or a data set with "
            "labels"
        )
    if limit is not None and limit < len(kept):
        kept = [kept[i] for i in sorted(balanced_order([image.label for image in kept])[:limit])]
    if strict or not unknown:
        _check_readable(kept, argument, strict=strict)


def _check_readable(images: Sequence[_Image], argument: str, *, strict: bool = False) -> None:
    """Read images until one can be read or, if strict, all of them; see `refuse_faults`."""
    failed: list[ImageFault] = []
    for image in images:
        try:
            image.read()
        except _READ_ERRORS as error:
            failed.append(ImageFault.of(image.name, error))
        else:
            if not strict:
                return
    refuse_faults(failed, len(images), strict=strict, argument=argument)


def refuse_faults(failed: Sequence[ImageFault], total: int, *, strict: bool = False, argument: str = "images") -> None:
    """Raise ValueError if all images, of which there are some, or, if strict, some of them cannot be read.

    Args:
        failed: The images that cannot be read.
        total: Number of all images.
        strict: Refuse any that cannot be read.
        argument: Name of the argument in errors.
    """
    if strict and failed:
        raise ValueError(
            f"{len(failed)} of {total} images cannot be read: {_joined(failed, _REFUSED)}; "
            "leave out --strict to use the others"
        )
    if failed and len(failed) == total:
        raise ValueError(f"{argument}: no image can be read: {_joined(failed, _LISTED)}")


def _joined(failed: Sequence[ImageFault], at_most: int) -> str:
    more = f"; and {len(failed) - at_most} more" if len(failed) > at_most else ""
    return "; ".join(map(str, failed[:at_most])) + more


def _is_image_file(spec: str) -> bool:
    path = Path(spec)
    return spec not in BUILTIN_NAMES and path.is_file() and path.suffix.lower() not in _DATA_SET_FILES


def _opened(
    spec: str, argument: str, split: str | None, default_split: str | None, split_argument: str, exclude: Path | None
) -> list[_Image] | None:
    """The images of a data set; None if it is not opened, because that takes long, or is built in."""
    path = Path(spec)
    if spec in BUILTIN_NAMES:
        takes_long = split is None
    elif path.is_file():
        takes_long = path.suffix.lower() == ".npz" and path.stat().st_size > _LARGEST_ARCHIVE
    else:
        takes_long = spec.startswith("hf:") or is_saved_dataset(path)
    if takes_long:
        return None
    try:
        contents = open_contents(spec, split, default_split, exclude)
    except ValueError as error:
        text = str(error)
        if text.startswith("split must"):
            raise type(error)(split_argument + text.removeprefix("split")) from error
        raise ValueError(f"{argument}: {text}") from error
    classes = contents.classes
    labels = [classes[label] if label >= 0 and classes else None for label in contents.labels.tolist()]
    return [
        _Image(name, label, lambda index=index: contents[index])  # type: ignore[misc]
        for index, (name, label) in enumerate(zip(contents.names, labels, strict=True))
    ]
