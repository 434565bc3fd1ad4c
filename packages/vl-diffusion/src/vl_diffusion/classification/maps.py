"""Where in the image a class predicts the noise well: denoising errors that are not averaged over pixels.

The error of a class is the mean of its map. The difference of two classes' maps, on the same noise, shows which parts
of the image speak for the one and which for the other. In a latent space a pixel is a patch of the image, and its
value also depends on what the autoencoder saw around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm
from vl_core.data import checked_ids
from vl_core.kernels import diffuse
from vl_core.noise import gaussian, make_keys

from vl_diffusion.checks import checked_integer
from vl_diffusion.classification.encoding import encode_each
from vl_diffusion.models.denoiser import condition_rows
from vl_diffusion.scoring.evaluator import ErrorEvaluator
from vl_diffusion.scoring.losses import variational_map
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
    """The denoising error of each pixel under each class, averaged over channels and draws.

    All classes meet the same noise, the one that the image meets when it is classified.

    Args:
        classifier: The model and what its error is, weighting included.
        image: One image of any kind that ``classify`` takes.
        classes: Which of the classifier's classes; by default all.
        draws: How many of the draws of the classifier's search, evenly spread; by default all.
        image_id: As for ``classify``.
        progress: Show a bar of evaluations.

    Returns:
        float32 ``(K, h, w)``, pixels of what the model denoises. With all draws a map's mean is the class's error in an
        exhaustive classification.

    Raises:
        TypeError: If `draws` or `image_id` is no integer.
        ValueError: If there is no class or one is none of the classifier's, `draws` is out of range, or the network
            returns NaN or infinity.

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
    errors, candidates = classifier.evaluator, classifier.candidates
    num_draws = len(errors.steps)
    if draws is not None and not 1 <= checked_integer("draws", draws) <= num_draws:
        raise ValueError(f"draws must be in 1 ... {num_draws}, the draws of the classifier's search, got {draws}")
    chosen = np.sort(nested_order(num_draws)[:draws])
    members = [
        [candidates.rows[candidate] for candidate in np.flatnonzero(candidates.class_indices == k)] for k in wanted
    ]
    rows = np.unique(np.concatenate([row for of_class in members for row in of_class]))
    ids = None if image_id is None else checked_ids([image_id], 1)
    encoded = next(encode_each(classifier.denoiser, [image], ids))
    pair_draw, pair_row = np.repeat(chosen, len(rows)), np.tile(rows, len(chosen))
    sums = torch.zeros(len(rows), *encoded.latent.shape[-2:], dtype=torch.float64)
    with tqdm(total=len(pair_row), desc="error maps", unit=" evaluations", disable=not progress) as bar:
        for start in range(0, len(pair_row), errors.batch_size):
            draw, row = pair_draw[start : start + errors.batch_size], pair_row[start : start + errors.batch_size]
            found = _batch(errors, encoded.latent, encoded.image_id, draw, row).double().cpu()
            weights = torch.from_numpy(classifier.engine.weights[draw]).double()
            sums.index_add_(0, torch.from_numpy(np.searchsorted(rows, row)), found * weights[:, None, None])
            bar.update(len(row))
    of_row = dict(zip(rows.tolist(), (sums / len(chosen)).numpy(), strict=True))
    scale = encoded.latent.numel() / classifier.temperature
    maps = [
        _of_class(
            [np.mean([of_row[r] for r in candidate], axis=0) for candidate in of_class],
            classifier.prompt_combination,
            scale,
        )
        for of_class in members
    ]
    return np.stack(maps).astype(np.float32)


def evidence_map(speaking_for: np.ndarray, against: np.ndarray) -> np.ndarray:
    """Where the image speaks for one class against another: the other's error map less its own.

    Args:
        speaking_for: ``(h, w)`` of :func:`error_maps`.
        against: Likewise, from the same call, so that both met the same noise.

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
    """Maps enlarged to the image that they are of, bilinearly, and NaN where the model did not look.

    Args:
        maps: ``(..., h, w)`` of :func:`error_maps` or :func:`evidence_map`.
        height: Of the image, in pixels.
        width: Likewise; what is longer than the other was cut off on both sides.

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


def _batch(errors: ErrorEvaluator, latent: Tensor, image_id: int, draw: np.ndarray, row: np.ndarray) -> Tensor:
    """Maps ``(n, h, w)`` of these draws under these rows of the condition, averaged over channels."""
    denoiser = errors.denoiser
    device, schedule, steps = denoiser.device, denoiser.schedule, errors.steps[draw]
    keys = make_keys(errors.seed, torch.full((len(draw),), image_id), torch.from_numpy(draw)).to(device)
    levels = [level.to(device) for level in schedule.levels(steps)]
    first = torch.zeros(len(draw), dtype=torch.int64, device=device)
    x0 = latent[None]
    x_t = diffuse(x0, keys, *levels, image=first)
    text = torch.from_numpy(row).to(device)
    output = denoiser.predict(x_t, schedule.network_times(steps).to(device), condition_rows(errors.condition, text))
    output = output.float()
    if errors.objective == "vlb":
        values = variational_map(output, x_t, x0, steps, schedule)
    else:
        noise = gaussian(keys, tuple(latent.shape))
        alpha, sigma = (level.view(-1, 1, 1, 1) for level in levels)
        target = {
            "epsilon": noise,
            "v_prediction": alpha * noise - sigma * x0,
            "flow_prediction": noise - x0,
            "sample": x0.expand_as(noise),
        }[schedule.prediction]
        difference = schedule.error_scale(errors.error_space, alpha, sigma) * (output[:, : len(latent)] - target)
        if errors.objective == "l2":
            values = difference.square()
        elif errors.objective == "l1":
            values = difference.abs()
        else:
            values = F.huber_loss(difference, torch.zeros_like(difference), reduction="none")
    maps = values.mean(1)
    if not bool(maps.isfinite().all()):
        job = int((~maps.isfinite()).flatten(1).any(1).nonzero()[0])
        raise ValueError(
            f"the error of {errors.texts[row[job]]!r} at time step {steps[job]} must be finite; check the model's "
            "weights, and use float32 or bfloat16 if they are float16"
        )
    return maps


def _of_class(maps: list[np.ndarray], combination: str, scale: float) -> np.ndarray:
    """The map of a class from those of its arms, as the classifier combines their errors."""
    means = np.array([values.mean() for values in maps])
    if combination == "logsumexp":
        share = np.exp(-scale * (means - means.min()))
        return np.tensordot(share / share.sum(), np.stack(maps), axes=1)
    return maps[int(means.argmin())]


def _index_of(name: str, classes: Sequence[str]) -> int:
    if name not in classes:
        raise ValueError(f"classes must be among the classifier's {len(classes)}, got {name!r}")
    return list(classes).index(name)
