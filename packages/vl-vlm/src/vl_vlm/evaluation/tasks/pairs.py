"""Pairs that differ in composition alone: two images with two captions, or one image with a right and a wrong caption.

Winoground (Thrush et al., 2022) counts an item only where all comparisons hold strictly; SugarCrepe (Hsieh et al.,
2023) where the right caption scores higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vl_vlm.evaluation.scorers.scorer import Scorer, Scores, checked
from vl_vlm.evaluation.tasks.task import Blocks, Measure, checked_ids, checked_texts
from vl_vlm.evaluation.tasks.ties import expected_separations, expected_wins


class WinogroundTask:
    """Text, image and group score of items of two images and two captions that belong together in order.

    With s(c, i) the score of caption c and image i: the text score asks that each image prefer its own caption,
    s(0,0) > s(1,0) and s(1,1) > s(0,1); the image score that each caption prefer its own image, s(0,0) > s(0,1) and
    s(1,1) > s(1,0); the group score asks for both (Thrush et al., 2022, Section 4). A model whose scores are all equal
    has 1/4, 1/4 and 1/6 over random orders of ties, and 0 by strict comparison.

    Args:
        images: Two for each item.
        captions: Two for each item, the first for the first image.
        ids: A unique name for each item; numbers by default.

    Raises:
        TypeError: If a caption is no text.
        ValueError: If there are fewer than two items, an item is no pair, or ids are not unique.

    Example:
        >>> task = WinogroundTask([(0, 1), (2, 3)], [("a mug in grass", "grass in a mug")] * 2)
        >>> task.width
        4
    """

    kind = "winoground"
    width = 4

    def __init__(
        self,
        images: Sequence[Sequence[Any]],
        captions: Sequence[Sequence[str]],
        *,
        ids: Sequence[Any] | None = None,
    ) -> None:
        self.images = images
        self.item_ids = checked_ids(ids, len(images))
        if len(captions) != len(images):
            raise ValueError(f"captions must be a pair for each of {len(images)} items, got {len(captions)}")
        # A data set that reads its images when they are asked for is not read here.
        known = images if isinstance(images, list | tuple) else ()
        for argument, pairs in (("images", known), ("captions", captions)):
            for name, pair in zip(self.item_ids, pairs, strict=False):
                if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
                    raise ValueError(
                        f"{argument} must be pairs, got {pair!r:.60} for item {name!r}; give two in a list"
                    )
        self.captions = [checked_texts(pair, "captions") for pair in captions]

    def texts(self) -> list[str]:
        """Captions in order."""
        return [text for pair in self.captions for text in pair]

    def score_rows(self, scorer: Scorer, items: Sequence[int], text_batch_size: int) -> Scores:
        """Raw scores ``(len(items), 4)``: s(0,0), s(0,1), s(1,0), s(1,1) by caption and image."""
        del text_batch_size  # two texts at a time
        images, texts = [self.images[item] for item in items], [self.captions[item] for item in items]
        return _rows(scorer, [(pair[0], pair[1]) for pair in images], texts)

    def measures(self, blocks: Blocks) -> list[Measure]:
        """Text, image and group score."""
        s00, s01, s10, s11 = (scores := _gathered(blocks, len(self.item_ids), 4)).T
        right, wrong = scores[:, [0, 3]], scores[:, [1, 2]]
        texts, images = (s00 == s10) | (s11 == s01), (s00 == s01) | (s11 == s10)
        strict_text, strict_image = (s00 > s10) & (s11 > s01), (s00 > s01) & (s11 > s10)
        rows = [
            ("text score", expected_wins(s00, s10) * expected_wins(s11, s01), strict_text, texts),
            ("image score", expected_wins(s00, s01) * expected_wins(s11, s10), strict_image, images),
            ("group score", expected_separations(right, wrong), strict_text & strict_image, texts | images),
        ]
        groups = np.arange(len(self.item_ids))
        return [
            Measure(name, self.item_ids, groups, expected, strict.astype(np.float64), tied)
            for name, expected, strict, tied in rows
        ]

    def truth(self) -> Any:
        """Nothing beyond the order of the pairs."""
        return None


class SugarCrepeTask:
    """Accuracy of preferring an image's caption over a hard negative.

    A model whose scores are all equal has 1/2 over random orders of ties, and 0 by strict comparison; code that asks
    for "at least as high" would give it 1.

    Args:
        images: One for each item.
        captions: The right caption of each.
        negatives: The wrong caption of each.
        ids: A unique name for each item; numbers by default.

    Raises:
        TypeError: If a caption is no text.
        ValueError: If there are fewer than two items, captions are missing, both are equal, or ids are not unique.

    Example:
        >>> task = SugarCrepeTask([0, 1], ["a red cup", "a dog"], ["a blue cup", "a dog on a mat"])
        >>> task.texts()
        ['a red cup', 'a blue cup', 'a dog', 'a dog on a mat']
    """

    kind = "sugarcrepe"
    width = 2

    def __init__(
        self,
        images: Sequence[Any],
        captions: Sequence[str],
        negatives: Sequence[str],
        *,
        ids: Sequence[Any] | None = None,
    ) -> None:
        self.images = images
        self.item_ids = checked_ids(ids, len(images))
        self.captions, self.negatives = checked_texts(captions, "captions"), checked_texts(negatives, "negatives")
        for argument, texts in (("captions", self.captions), ("negatives", self.negatives)):
            if len(texts) != len(images):
                raise ValueError(f"{argument} must be one for each of {len(images)} images, got {len(texts)}")
        for name, *pair in zip(self.item_ids, self.captions, self.negatives, strict=True):
            if pair[0] == pair[1]:
                raise ValueError(f"negatives must differ from captions, got {pair[0]!r} for both of item {name!r}")

    def texts(self) -> list[str]:
        """Caption and negative of each item in turn."""
        return [text for pair in zip(self.captions, self.negatives, strict=True) for text in pair]

    def score_rows(self, scorer: Scorer, items: Sequence[int], text_batch_size: int) -> Scores:
        """Raw scores ``(len(items), 2)``: of the caption and of the negative."""
        del text_batch_size  # two texts at a time
        texts = [(self.captions[item], self.negatives[item]) for item in items]
        return _rows(scorer, [(self.images[item],) for item in items], texts)

    def measures(self, blocks: Blocks) -> list[Measure]:
        """Accuracy."""
        right, wrong = _gathered(blocks, len(self.item_ids), 2).T
        groups = np.arange(len(self.item_ids))
        strict = (right > wrong).astype(np.float64)
        return [Measure("accuracy", self.item_ids, groups, expected_wins(right, wrong), strict, right == wrong)]

    def truth(self) -> Any:
        """Nothing beyond the order of the captions."""
        return None


def _rows(scorer: Scorer, images: Sequence[tuple[Any, ...]], texts: Sequence[tuple[str, ...]]) -> Scores:
    """Scores of each item's images and texts alone, by text and then by image."""
    width = len(images[0]) * len(texts[0])
    if (score_pairs := getattr(scorer, "score_pairs", None)) is not None:
        both = [(i, t) for own, pair in zip(images, texts, strict=True) for t in pair for i in own]
        scores = checked(score_pairs([image for image, _ in both], [text for _, text in both]), (len(both),))
        return scores.reshape(len(images), width)
    return np.stack(
        [
            checked(scorer.score(list(own), list(pair)), (len(own), len(pair))).T.reshape(width)
            for own, pair in zip(images, texts, strict=True)
        ]
    )


def _gathered(blocks: Blocks, count: int, width: int) -> NDArray[np.float64]:
    scores = np.empty((count, width))
    for items, rows in blocks():
        scores[items] = rows
    return scores
