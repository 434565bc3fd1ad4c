"""Retrieval in both directions with several captions an image, in memory that does not grow with images times texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vl_vlm.evaluation.scorers.scorer import Scorer, Scores, score_block
from vl_vlm.evaluation.tasks.task import Blocks, Measure, checked_counts, checked_ids, checked_texts
from vl_vlm.evaluation.tasks.ties import Standing, standing


class RetrievalTask:
    """Recall@k from image to text and from text to image.

    Equal captions are one text, which is right for every image that has it: nobody is marked down for retrieving the
    very words. An image counts if any of its captions is among the first k texts, a text if any of its images is among
    the first k images. Only some images' scores are in memory at a time.

    Args:
        images: Whatever the model takes; at least two.
        captions: Captions of each image, at least one.
        ks: By default 1, 5 and 10, as far as there are candidates in both directions.
        ids: A unique name for each image; numbers by default.

    Raises:
        TypeError: If a caption is no text.
        ValueError: If there are fewer than two images or texts, an image has no caption, or ids are not unique.

    Example:
        >>> task = RetrievalTask(images=[0, 1], captions=[["a cat", "a pet"], ["a dog", "a pet"]])
        >>> task.texts(), task.merged
        (['a cat', 'a pet', 'a dog'], 1)
    """

    kind = "retrieval"

    def __init__(
        self,
        images: Sequence[Any],
        captions: Sequence[Sequence[str]],
        *,
        ks: Sequence[int] | None = None,
        ids: Sequence[Any] | None = None,
    ) -> None:
        self.images = images
        self.item_ids = checked_ids(ids, len(images))
        if len(captions) != len(images):
            raise ValueError(f"captions must be a list for each of {len(images)} images, got {len(captions)} lists")
        numbers: dict[str, int] = {}
        self._texts_of: list[list[int]] = []
        total = 0
        for name, own in zip(self.item_ids, captions, strict=True):
            texts = list(dict.fromkeys(checked_texts(own, f"captions of image {name!r}")))
            if not texts:
                raise ValueError(f"captions must name a text for each image, got none for {name!r}; leave it out")
            self._texts_of.append([numbers.setdefault(text, len(numbers)) for text in texts])
            total += len(own)
        self._texts = list(numbers)
        self.merged = total - len(numbers)
        """Captions that equal an earlier one."""
        self.width = len(numbers)
        if self.width < 2:
            raise ValueError(
                f"captions must be at least two different texts, got {self._texts}; nothing is to be chosen"
            )
        self.ks = checked_counts(ks, min(self.width, len(images)), (1, 5, 10))

    def texts(self) -> list[str]:
        """Different captions in the order in which they come."""
        return list(self._texts)

    def score_rows(self, scorer: Scorer, items: Sequence[int], text_batch_size: int) -> Scores:
        """Raw scores ``(len(items), number of texts)``."""
        return score_block(scorer, [self.images[item] for item in items], self._texts, text_batch_size)

    def measures(self, blocks: Blocks) -> list[Measure]:
        """Recall@k in both directions for each of ``ks``, in two passes over the scores."""
        images = _Counts(len(self.item_ids))
        best = np.full(self.width, -np.inf)
        for items, scores in blocks():
            right = self._right(items)
            images.put(items, standing(scores, right))
            best = np.maximum(best, np.where(right, scores, -np.inf).max(0))
        texts = _Counts(self.width)
        for items, scores in blocks():
            right, equal = self._right(items), scores == best
            texts.above += (scores > best).sum(0)
            texts.right += (equal & right).sum(0)
            texts.wrong += (equal & ~right).sum(0)
        owner = np.zeros(self.width, np.int64)
        for image in reversed(range(len(self.item_ids))):
            owner[self._texts_of[image]] = image
        return [
            *_recalls("image-to-text", self.item_ids, np.arange(len(self.item_ids)), images, self.ks),
            *_recalls("text-to-image", tuple(self._texts), owner, texts, self.ks),
        ]

    def truth(self) -> Any:
        """Numbers of each image's texts."""
        return self._texts_of

    def _right(self, items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where a text belongs to an image, ``(len(items), number of texts)``."""
        found = np.zeros((len(items), self.width), np.bool_)
        for row, item in enumerate(items):
            found[row, self._texts_of[item]] = True
        return found


class _Counts:
    """Places of all items, filled in bit by bit."""

    def __init__(self, count: int) -> None:
        self.above, self.right, self.wrong = (np.zeros(count, np.int64) for _ in range(3))

    def put(self, items: NDArray[np.int64], found: Standing) -> None:
        self.above[items], self.right[items], self.wrong[items] = found.above, found.tied_right, found.tied_wrong


def _recalls(
    direction: str, ids: tuple[str, ...], groups: NDArray[np.int64], counts: _Counts, ks: Sequence[int]
) -> list[Measure]:
    places = Standing(counts.above, counts.right, counts.wrong)
    return [
        Measure(f"{direction} recall@{k}", ids, groups, places.expected_hits(k), places.strict_hits(k), places.tied)
        for k in ks
    ]
