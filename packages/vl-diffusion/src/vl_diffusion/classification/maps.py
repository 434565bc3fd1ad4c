"""Error maps: denoising errors of a class that are not averaged over pixels.

The error of a class is the mean of its map. The difference of two classes' maps, on the same noise, shows which parts
of the image are evidence for one and which for the other. In a latent space a pixel is a patch of the image, and its
value also depends on the autoencoder's receptive field around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F
from vl_core.data import checked_ids
from vl_core.progress import progress_bar

from vl_diffusion.checks import checked_integer
from vl_diffusion.classification.encoding import encode_each
from vl_diffusion.scoring.evaluator import EvaluationBatch
from vl_diffusion.search.draw_order import nested_order

if TYPE_CHECKING:
    from vl_diffusion.classification.classifier import DiffusionClassifier


@torch.no_grad()
def error_maps(
    classifier: DiffusionClassifier,
    image: Any,
    classes: Sequence[str] | None = None,
    *,
    draws: int | None = None,
    image_id: int | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Denoising error of each pixel under each class, averaged over channels and draws.

    All classes share the noise that the image is classified with.

    Args:
        classifier: The model and its settings, weighting included.
        image: One image of any kind that ``classify`` takes.
        classes: Some of the classifier's classes; by default all.
        draws: Number of draws, evenly spread over those of the classifier's search; by default all.
        image_id: As for ``classify``.
        progress: Show a progress bar of evaluations.

    Returns:
        float32 ``(K, h, w)``, at the size of the image or latent that the model denoises. With all draws, the mean of a
        map is the class's error in an exhaustive classification.

    Raises:
        TypeError: If `draws` or `image_id` is no integer.
        ValueError: If `classes` is empty or holds an unknown class, `draws` is out of range, or the network returns NaN
            or infinity.

    Example:
        >>> from vl_core.data import open_dataset
        >>> image, _ = open_dataset("fashion", split="test")[0]
        >>> classifier = DiffusionClassifier.from_pretrained("fashion", search=Exhaustive(4))
        >>> error_maps(classifier, image, ["ankle boot", "sneaker"]).shape
        (2, 28, 28)
    """
    wanted = [_index_of(name, classifier.classes) for name in (classifier.classes if classes is None else classes)]
    if not wanted:
        raise ValueError("classes is empty; name at least one, or leave it out for all")
    evaluator, candidates = classifier.evaluator, classifier.candidates
    num_draws = len(evaluator.steps)
    if draws is not None and not 1 <= checked_integer("draws", draws) <= num_draws:
        raise ValueError(f"draws must be in 1 ... {num_draws}, the draws of the classifier's search, got {draws}")
    chosen = np.sort(nested_order(num_draws)[:draws])
    members = [
        [candidates.rows[candidate] for candidate in np.flatnonzero(candidates.class_indices == k)] for k in wanted
    ]
    rows = np.unique(np.concatenate([row for of_class in members for row in of_class]))
    ids = None if image_id is None else checked_ids([image_id], 1)
    encoded = next(encode_each(classifier.denoiser, [image], ids))
    latents, image_ids = encoded.latent[None], np.array([encoded.image_id], np.int64)
    all_draws, all_rows = np.repeat(chosen, len(rows)), np.tile(rows, len(chosen))
    sums = torch.zeros(len(rows), *latents.shape[-2:], dtype=torch.float64)
    with progress_bar(total=len(all_rows), desc="error maps", unit=" evaluations", disable=not progress) as bar:
        for start in range(0, len(all_rows), evaluator.batch_size):
            part = slice(start, start + evaluator.batch_size)
            draw, pair = np.unique(all_draws[part], return_inverse=True)
            batch = EvaluationBatch(image=np.zeros_like(draw), draw=draw, pair=pair, row=all_rows[part])
            found = torch.from_numpy(evaluator.maps(latents, image_ids, batch)).double()
            weights = torch.from_numpy(classifier.engine.weights[all_draws[part]]).double()
            sums.index_add_(0, torch.from_numpy(np.searchsorted(rows, batch.row)), found * weights[:, None, None])
            bar.update(len(batch))
    of_row = dict(zip(rows.tolist(), (sums / len(chosen)).numpy(), strict=True))
    scale = encoded.latent.numel() / classifier.temperature
    maps = [
        _combine(
            [np.mean([of_row[r] for r in candidate], axis=0) for candidate in of_class],
            classifier.prompt_combination,
            scale,
        )
        for of_class in members
    ]
    return np.stack(maps).astype(np.float32)


def evidence_map(speaking_for: np.ndarray, against: np.ndarray) -> np.ndarray:
    """Evidence of each pixel for one class against another: the other's error map minus its own.

    Args:
        speaking_for: ``(h, w)``, the class's map from :func:`error_maps`.
        against: ``(h, w)``, the other's from the same call, so that both share the noise.

    Returns:
        float32 ``(h, w)``, positive where the first class predicts the noise better. Its mean is the difference of the
        classes' errors.

    Raises:
        ValueError: If the shapes differ.
    """
    one, other = np.asarray(speaking_for, np.float32), np.asarray(against, np.float32)
    if one.shape != other.shape:
        raise ValueError(f"speaking_for and against must have one shape, got {one.shape} and {other.shape}")
    difference: np.ndarray = other - one
    return difference


def upsample_maps(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize maps bilinearly to their image; parts that the model's center crop cut off are NaN.

    Args:
        maps: ``(..., h, w)`` from :func:`error_maps` or :func:`evidence_map`.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Returns:
        float32 ``(..., height, width)``.

    Raises:
        ValueError: If the image has no pixels.
    """
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1, got {height} and {width}")
    values = np.asarray(maps, np.float32)
    side = min(height, width)
    stack = torch.from_numpy(np.ascontiguousarray(values)).reshape(-1, 1, *values.shape[-2:])
    enlarged = F.interpolate(stack, (side, side), mode="bilinear", align_corners=False)[:, 0].numpy()
    whole = np.full((len(stack), height, width), np.nan, np.float32)
    top, left = (height - side) // 2, (width - side) // 2
    whole[:, top : top + side, left : left + side] = enlarged
    return whole.reshape(*values.shape[:-2], height, width)


def _combine(maps: list[np.ndarray], combination: str, scale: float) -> np.ndarray:
    """Map of a class from those of its prompts, combined as the classifier combines their errors."""
    means = np.array([values.mean() for values in maps])
    if combination == "logsumexp":
        share = np.exp(-scale * (means - means.min()))
        return np.tensordot(share / share.sum(), np.stack(maps), axes=1)
    return maps[int(means.argmin())]


def _index_of(name: str, classes: Sequence[str]) -> int:
    if name not in classes:
        raise ValueError(f"classes must be among the classifier's {len(classes)}, got {name!r}")
    return list(classes).index(name)
