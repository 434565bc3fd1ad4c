"""Models of the evaluation: anything that scores images against texts, checked where it is called.

A scorer may do two things faster than `score` allows, and the evaluation then uses them: ``score_groups`` ensembles
the texts of a class in the space of features, and ``score_pairs`` scores the i-th image against the i-th text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Scores: TypeAlias = NDArray[np.floating[Any]]
"""Real numbers, float32 or float64; larger means that image and text fit better."""


@runtime_checkable
class Scorer(Protocol):
    """A model that scores every image of a list against every text of a list."""

    def score(self, images: Sequence[Any], texts: Sequence[str]) -> Any:
        """Scores ``(len(images), len(texts))``, an array or a tensor; larger means a better fit."""
        ...


class FunctionScorer:
    """A scorer made of a function ``(images, texts) -> (len(images), len(texts))``."""

    def __init__(self, function: Callable[[Sequence[Any], Sequence[str]], Any]) -> None:
        self._function = function

    def score(self, images: Sequence[Any], texts: Sequence[str]) -> Any:
        """Give the function's scores."""
        return self._function(images, texts)


def as_scorer(model: Any, argument: str = "model") -> Scorer:
    """Give a scorer of a `DualEncoder`, the model itself if it has a method ``score``, or one made of the callable.

    Raises:
        TypeError: If it is none of these.
    """
    if hasattr(model, "encode_images") and hasattr(model, "encode_texts") and not isinstance(model, type):
        from vl_vlm.evaluation.scorers.dual_encoder import from_dual_encoder

        return from_dual_encoder(model.encode_images, model.encode_texts)
    if callable(getattr(model, "score", None)) and not isinstance(model, type):
        found: Scorer = model
        return found
    if callable(model) and not isinstance(model, type):
        return FunctionScorer(model)
    raise TypeError(
        f"{argument} must have a method score(images, texts) or be such a function, got {type(model).__name__}; "
        "wrap an encoder pair with from_dual_encoder, a model of transformers or open_clip with from_transformers or "
        "from_open_clip"
    )


def as_array(values: Any, argument: str) -> Scores:
    """Values of an array, a tensor on any device or nested lists as float32 or float64, without loss.

    Raises:
        TypeError: If they are no real numbers.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # NumPy has no bfloat16, and every 16-bit number is a float32 as well.
        if values.is_floating_point() and values.element_size() < 4:
            values = values.float()
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{argument} must be real numbers, got {array.dtype}; return one float for each image and text")
    wide = array.dtype.kind in "iu" or array.dtype.itemsize > 4
    return array.astype(np.float64 if wide else np.float32)


def checked(scores: Any, shape: tuple[int, ...]) -> Scores:
    """Scores of a model as an array of this shape.

    Raises:
        TypeError: If they are no real numbers.
        ValueError: If the shape is another one, or a score is not a number.
    """
    array = as_array(scores, "scores of the model")
    if array.shape != shape:
        raise ValueError(
            f"scores of the model must have shape {shape} for {shape[0]} images"
            f"{f' and {shape[1]} texts' if len(shape) > 1 else ', each with its text'}, got {array.shape}; "
            "give a row for each image and a column for each text"
        )
    if count := int(np.isnan(array).sum()):
        raise ValueError(
            f"scores of the model must be numbers, got NaN in {count} of {array.size}; look for a division by zero or "
            "an overflow in half precision"
        )
    return array


def score_block(scorer: Scorer, images: Sequence[Any], texts: Sequence[str], text_batch_size: int) -> Scores:
    """Scores ``(len(images), len(texts))``, asked of the scorer in portions of at most ``text_batch_size`` texts."""
    parts = [
        checked(scorer.score(images, portion), (len(images), len(portion)))
        for portion in _portions(texts, text_batch_size)
    ]
    return np.concatenate(parts, axis=1)


def score_groups(
    scorer: Scorer, images: Sequence[Any], groups: Sequence[Sequence[str]], text_batch_size: int
) -> Scores:
    """Scores ``(len(images), len(groups))`` against groups of equally many texts.

    The scorer's own ``score_groups`` is used where it has one; otherwise a group's score is the mean over its texts.
    """
    size = len(groups[0])
    if (ensemble := getattr(scorer, "score_groups", None)) is not None:
        parts = [
            checked(ensemble(images, portion), (len(images), len(portion)))
            for portion in _portions(groups, max(1, text_batch_size // size))
        ]
        return np.concatenate(parts, axis=1)
    scores = score_block(scorer, images, [text for group in groups for text in group], text_batch_size)
    if size == 1:
        return scores
    means = scores.reshape(len(images), len(groups), size).mean(2, dtype=np.float64).astype(scores.dtype)
    return checked(means, means.shape)


def _portions(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
