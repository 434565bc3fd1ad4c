"""`open_captions`: open images with captions by name or path."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from vl_core.data import ImageError
from vl_core.progress import progress_bar

from vl_vlm.captions.captioned import CaptionedImages
from vl_vlm.captions.contents import Contents, ImageReader
from vl_vlm.captions.kinds import Request, open_caption_contents

_log = logging.getLogger(__name__)

_ADVICE = "; repair or remove it, or open the data set with skip_broken=True, which leaves such images out"


def open_captions(
    spec: str | os.PathLike[str],
    *,
    split: str | None = None,
    default_split: str | None = None,
    limit: int | None = None,
    images: str | os.PathLike[str] | None = None,
    caption_column: str | None = None,
    image_column: str | None = None,
    exclude: str | os.PathLike[str] | None = None,
    skip_broken: bool = False,
    progress: bool = True,
) -> CaptionedImages:
    r"""Open images with captions by name or by path.

    Images are read when they are asked for; names and captions are held in memory.

    Args:
        spec: One of

            - a folder of images at any depth, the captions of ``name.jpg`` beside it in ``name.txt``, one a line;
            - a captions file, or a folder of images with one: ``.json`` (COCO's or Karpathy's form, a list of records,
              or captions by file), ``.jsonl`` as Hugging Face's ``metadata.jsonl``, ``.csv`` or ``.tsv`` with a header;
              records or rows of one image are joined, and paths are relative to the captions file;
            - a ``.parquet`` file, or a folder of them: a column of encoded images, and one of texts or lists of texts;
            - WebDataset shards: a ``.tar`` file, a folder of them, a pattern (``"shards-*.tar"``) or braces
              (``"shards-{000..009}.tar"``);
            - ``"emoji"`` or one style of it, an ``.npz`` file, ``"hf:owner/name"``: what `vl_core.data.open_dataset`
              opens, if it has captions.

            A folder whose sub-folders are named like splits holds one of these in each.
        split: ``"train"``, ``"val"`` (also ``"validation"``) or ``"test"``, or what else the data set calls its parts:
            by sub-folders, by the field or column ``split``, or by names of Parquet files and shards that begin with
            it. None takes all.
        default_split: Split to take if ``split`` is None and the data set has splits.
        limit: Maximum number of images, the first of the data set; of shards no more are indexed than that takes.
        images: Folder to which the paths in a captions file are relative; by default the folder of the file.
        caption_column: Field or column of captions. By default the first there is of ``captions``, ``caption``,
            ``text``, ``title``, ``sentences``, ``comment``.
        image_column: Field or column of the file or the image. By default the first there is of ``file_name``,
            ``filename``, ``filepath``, ``image`` and similar ones; in Parquet files ``image``, ``img``, or the one that
            is described as an image.
        exclude: A folder inside that is passed over, such as the one that results are written to.
        skip_broken: Leave out what cannot be used, and list it in ``.skipped`` with the reason. Every image is decoded
            once now, on several threads. By default, samples without an image or a caption and shards that are cut
            short are refused, and an image that cannot be decoded raises an error when it is read.
        progress: Show progress where it takes long.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ModuleNotFoundError: If an extra is missing; it is named.
        UndividedError: If a split is asked for and the data set has none; a ValueError.
        ValueError: If the spec is not understood, the contents are not as they must be, nothing can be used, or,
            without ``skip_broken``, something cannot.

    Example:
        >>> dataset = open_captions("emoji", split="test")
        >>> dataset[0].captions
        ('grinning face with big eyes',)
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit must be a whole number of at least 1, or None for all images, got {limit!r}")
    request = Request(
        split=split,
        images=None if images is None else Path(images),
        caption_column=caption_column,
        image_column=image_column,
        exclude=None if exclude is None else Path(exclude),
        limit=None if skip_broken else limit,
        progress=progress,
    )
    contents = open_caption_contents(spec, request, default_split)
    contents.refuse_empty()
    if skip_broken:
        contents = _readable(contents, limit, progress)
    else:
        contents.refuse_skipped()
        contents = contents.first(limit)
        contents.images = _AdvisedImages(contents.images)
    return CaptionedImages(
        contents.images,  # type: ignore[arg-type]
        contents.captions,
        names=contents.names,
        name=contents.name,
        metadata=contents.metadata,
        skipped=contents.skipped,
    )


class _AdvisedImages:
    """Says what to do about an image that cannot be decoded."""

    def __init__(self, images: ImageReader) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Image.Image:
        try:
            return self._images[index]
        except ImageError as error:
            raise ImageError(f"{error}{_ADVICE}") from None


def _readable(contents: Contents, limit: int | None, progress: bool) -> Contents:
    """The images that can be decoded, up to the limit."""
    total, good = len(contents.names), list[int]()
    broken: list[tuple[str, str]] = []
    bar = progress_bar(total=total if limit is None else min(limit, total), desc="decode", disable=not progress)
    with bar, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        places = iter(range(total))
        # In pieces, since a pool would decode all images at once, however slowly they are taken.
        while limit is None or len(good) < limit:
            piece = list(itertools.islice(places, 256 if limit is None else min(256, limit - len(good))))
            if not piece:
                break
            for place, reason in zip(piece, pool.map(_fault(contents), piece), strict=True):
                if reason is None:
                    good.append(place)
                else:
                    broken.append((contents.names[place], reason))
                bar.update(1)
    contents.skipped = [*contents.skipped, *broken]
    if contents.skipped:
        _log.warning(
            "skipped %d samples of %s; the first: %s %s", len(contents.skipped), contents.name, *contents.skipped[0]
        )
    result = contents.take(good)
    result.refuse_empty()
    return result


def _fault(contents: Contents) -> Callable[[int], str | None]:
    def reason(place: int) -> str | None:
        try:
            contents.images[place]
        # ImageError is a ValueError; a vanished or unreadable file is an OSError.
        except (ValueError, OSError) as error:
            return str(error)
        return None

    return reason
