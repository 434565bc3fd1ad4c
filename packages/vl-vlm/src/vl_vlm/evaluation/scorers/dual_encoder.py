"""A scorer made of two functions to features: the score is the cosine of the angle between image and text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vl_vlm.evaluation.scorers.scorer import Scores, as_array

Encode = Callable[[list[Any]], Any]
"""Features ``(N, D)``, an array or a tensor, of a list of N images or N texts."""


class DualEncoderScorer:
    """Cosine of the features of an image and a text; see `from_dual_encoder`."""

    def __init__(self, encode_image: Encode, encode_text: Encode, *, cached_texts: int) -> None:
        self._encode_image = encode_image
        self._encode_text = encode_text
        self._cached_texts = cached_texts
        self._texts: dict[str, NDArray[np.float64]] = {}
        self._images: list[Any] = []
        self._image_features: NDArray[np.float64] = np.empty((0, 0))

    def score(self, images: Sequence[Any], texts: Sequence[str]) -> Scores:
        """Cosines ``(len(images), len(texts))``, float32."""
        return _cosines(self._of_images(images), self._of_texts(texts), "id,jd->ij")

    def score_pairs(self, images: Sequence[Any], texts: Sequence[str]) -> Scores:
        """Cosines ``(len(images),)`` of the i-th image and the i-th text; an object given twice is encoded once."""
        places = {id(image): place for place, image in reversed(list(enumerate(images)))}
        kept = sorted(places.values())
        row = {place: number for number, place in enumerate(kept)}
        features = self._of_images([images[place] for place in kept])
        return _cosines(features[[row[places[id(image)]] for image in images]], self._of_texts(texts), "id,id->i")

    def score_groups(self, images: Sequence[Any], groups: Sequence[Sequence[str]]) -> Scores:
        """Cosines ``(len(images), len(groups))`` with the direction of a group's mean unit feature.

        This is the ensemble over prompts of CLIP (Radford et al., 2021, Section 3.1.4).
        """
        texts = self._of_texts([text for group in groups for text in group])
        ends = np.cumsum([len(group) for group in groups])[:-1]
        means = np.stack([part.mean(0) for part in np.split(texts, ends)])
        return _cosines(self._of_images(images), _unit(means, "mean over a class's texts"), "id,jd->ij")

    def _of_images(self, images: Sequence[Any]) -> NDArray[np.float64]:
        """Unit features; those of the last list are kept, since it comes again with other texts."""
        same = len(images) == len(self._images) and all(a is b for a, b in zip(images, self._images, strict=True))
        if not same or not self._images:
            self._image_features = _features(self._encode_image, list(images), "encode_image")
            self._images = list(images)
        return self._image_features

    def _of_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Unit features, each text encoded once."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._texts]:
            if len(self._texts) + len(new) > self._cached_texts:
                self._texts.clear()
                new = list(dict.fromkeys(texts))
            self._texts.update(zip(new, _features(self._encode_text, new, "encode_text"), strict=True))
        return np.stack([self._texts[text] for text in texts])


def from_dual_encoder(encode_image: Encode, encode_text: Encode, *, cached_texts: int = 100_000) -> DualEncoderScorer:
    """Make a scorer of two functions to features, compared by their cosine.

    Products are summed in float64 and rounded to float32 once, so that equal features give equal scores wherever they
    stand in a batch: a matrix product in float32 may round them apart, which would hide a tie.

    Args:
        encode_image: Takes a list of N images, gives features ``(N, D)``, an array or a tensor; any length but zero.
        encode_text: Takes a list of N texts, gives features ``(N, D)``.
        cached_texts: Text features to keep, so that a text is encoded once for all batches of images.

    Returns:
        A scorer, which also ensembles prompts in the space of features and scores pairs one by one.

    Raises:
        TypeError: If a function is not callable.
        ValueError: If ``cached_texts`` is negative.

    Example:
        >>> scorer = from_dual_encoder(lambda images: images, lambda texts: [[1.0, 0.0] for _ in texts])
        >>> scorer.score([[2.0, 0.0], [0.0, 3.0]], ["a cat"]).tolist()
        [[1.0], [0.0]]
    """
    for argument, function in (("encode_image", encode_image), ("encode_text", encode_text)):
        if not callable(function):
            raise TypeError(f"{argument} must be a function from a list to features, got {type(function).__name__}")
    if cached_texts < 0:
        raise ValueError(f"cached_texts must be 0 or more, got {cached_texts}; 0 keeps only those of one call")
    return DualEncoderScorer(encode_image, encode_text, cached_texts=cached_texts)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Run a model in evaluation mode without gradients; the mode is put back."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def rgb_pixels(image: Any) -> NDArray[np.uint8]:
    """Pixels ``(H, W, 3)`` of an image in any form that `vl_core.data.image_to_tensor` takes."""
    from vl_core.data import image_to_tensor

    pixels = image_to_tensor(image).detach().cpu()
    found: NDArray[np.uint8] = (pixels.expand(3, -1, -1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return found


def _features(encode: Encode, values: list[Any], argument: str) -> NDArray[np.float64]:
    features = as_array(encode(values), f"features of {argument}")
    if features.ndim != 2 or len(features) != len(values):
        raise ValueError(
            f"{argument} must give features of shape ({len(values)}, D) got {features.shape}; "
            "return one row for each input"
        )
    return _unit(features.astype(np.float64), argument)


def _unit(features: NDArray[np.float64], argument: str) -> NDArray[np.float64]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError(
            f"features of {argument} must be finite and not all zero, got a row of length "
            f"{lengths[~(np.isfinite(lengths) & (lengths > 0))][0]}; such a row has no direction to compare"
        )
    unit: NDArray[np.float64] = features / lengths
    return unit


def _cosines(images: NDArray[np.float64], texts: NDArray[np.float64], form: str) -> Scores:
    if images.shape[1] != texts.shape[1]:
        raise ValueError(
            f"encode_image and encode_text must give features of one size, got {images.shape[1]} and {texts.shape[1]}; "
            "project both to the same space"
        )
    found: Scores = np.einsum(form, images, texts, optimize=form.endswith("ij")).astype(np.float32)
    return found
