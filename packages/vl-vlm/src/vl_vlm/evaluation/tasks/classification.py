"""Zero-shot classification: an image's class is the text that fits best, among one or several prompts a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vl_vlm.evaluation.scorers.scorer import Scorer, Scores, score_groups
from vl_vlm.evaluation.tasks.task import Blocks, Measure, checked_counts, checked_ids, checked_texts
from vl_vlm.evaluation.tasks.ties import Standing, standing


class ClassificationTask:
    """Accuracy of choosing an image's class by its prompts.

    The raw scores of an image are one for each class. Where the model has ``score_groups`` (dual encoders do), the
    prompts of a class are averaged as unit features (Radford et al., 2021, Section 3.1.4), else as scores.

    Args:
        images: Whatever the model takes; a list, or a data set that is read by number.
        labels: Number of the right class of each image.
        classes: Names, at least two and all different.
        templates: Prompts with ``{}`` where the name goes.
        ks: An image counts if its class is among the first k; by default 1 and 5, as far as classes go.
        ids: A unique name for each image; numbers by default.

    Raises:
        TypeError: If a text is none.
        ValueError: If there are fewer than two images or classes, a label or a template does not fit, a class comes
            twice, or ids are not unique.

    Example:
        >>> task = ClassificationTask(images=[0, 1], labels=[0, 1], classes=["cat", "dog"])
        >>> task.texts()
        ['a photo of a cat.', 'a photo of a dog.']
    """

    kind = "classification"

    def __init__(
        self,
        images: Sequence[Any],
        labels: Sequence[int],
        classes: Sequence[str],
        *,
        templates: Sequence[str] = ("a photo of a {}.",),
        ks: Sequence[int] | None = None,
        ids: Sequence[Any] | None = None,
    ) -> None:
        self.images = images
        self.item_ids = checked_ids(ids, len(images))
        self.classes = checked_texts(classes, "classes")
        self.templates = checked_texts(templates, "templates")
        self.labels = [int(label) for label in labels]
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must be at least two different names, got {list(self.classes)[:10]}")
        if not self.templates or any("{}" not in template for template in self.templates):
            raise ValueError(
                f"templates must each hold {{}} for the name of the class, got {list(self.templates)[:3]}; "
                'for instance "a photo of a {}."'
            )
        if len(self.labels) != len(images):
            raise ValueError(f"labels must be one for each of {len(images)} images, got {len(self.labels)}")
        if wrong := [label for label in self.labels if not 0 <= label < len(self.classes)]:
            raise ValueError(f"labels must lie in 0..{len(self.classes) - 1}, got {wrong[0]}; they count from zero")
        self.ks = checked_counts(ks, len(self.classes), (1, 5))
        self.width = len(self.classes)

    def texts(self) -> list[str]:
        """Prompts of the first class, of the second, and so on."""
        return [text for group in self._groups() for text in group]

    def score_rows(self, scorer: Scorer, items: Sequence[int], text_batch_size: int) -> Scores:
        """Raw scores ``(len(items), len(classes))``."""
        return score_groups(scorer, [self.images[item] for item in items], self._groups(), text_batch_size)

    def measures(self, blocks: Blocks) -> list[Measure]:
        """Top-k accuracy for each of ``ks``."""
        count = len(self.item_ids)
        above, right, wrong = (np.zeros(count, np.int64) for _ in range(3))
        labels = np.array(self.labels)
        for items, scores in blocks():
            found = standing(scores, np.arange(self.width) == labels[items, None])
            above[items], right[items], wrong[items] = found.above, found.tied_right, found.tied_wrong
        places = Standing(above, right, wrong)
        groups = np.arange(count)
        return [
            Measure(
                f"top-{k} accuracy", self.item_ids, groups, places.expected_hits(k), places.strict_hits(k), places.tied
            )
            for k in self.ks
        ]

    def truth(self) -> Any:
        """Labels."""
        return self.labels

    def _groups(self) -> list[list[str]]:
        return [[template.replace("{}", name) for template in self.templates] for name in self.classes]
