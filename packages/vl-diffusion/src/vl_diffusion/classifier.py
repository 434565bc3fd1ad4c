"""Zero-shot classification with a diffusion model: the class under which the noise is predicted best.

Li, Prabhudesai, Duggal, Brown & Pathak (2023), "Your Diffusion Model is Secretly a Zero-Shot Classifier". By the
variational bound, the class-conditional likelihood falls with the expected error of the noise prediction; with a
uniform prior, the posterior is a softmax of minus that error, and its largest entry is the class of the smallest
error.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from vl_diffusion.engine import Engine
from vl_diffusion.images import content_id, fit, to_tensor
from vl_diffusion.loading import as_denoiser, load_denoiser
from vl_diffusion.objectives import Objective, check_objective
from vl_diffusion.result import Classification, concatenate, summarise
from vl_diffusion.search import Search, Staged

# At most this many images are searched side by side, however cheap one is.
_IMAGES_AT_ONCE = 16


class DiffusionClassifier:
    """Classify images by the error with which a diffusion model predicts the noise added to them.

    The error is uniform in epsilon-space: the mean over an image's values of ``|epsilon_hat - epsilon|^2`` (or another
    `objective`), averaged over evenly spaced time steps, whatever the network was trained to predict. All classes of an
    image see the same noise, and the noise is a pure function of ``(seed, image, draw)``: results do not depend on
    batch size, on the order of the images, or on an interruption.

    Args:
        model: A diffusers pipeline (Stable Diffusion 1.x or 2.x, DiT), a class-conditional ``DiTTransformer2DModel`` or
            ``UNet2DModel`` of pixels together with `scheduler`, or any object with the members of
            :class:`~vl_diffusion.Denoiser`.
        classes: Class names, at least two, all different. May be left out for a model that names its classes.
        search: How evaluations are spent: :class:`~vl_diffusion.Staged` (default) or :class:`~vl_diffusion.Exhaustive`.
        objective: ``"l2"``, ``"l1"`` or ``"huber"``.
        seed: Seed of the noise, 0 or more and below 2**31.
        batch_size: Evaluations in one call of the network.
        temperature: Divides the summed error before the softmax that gives the probabilities.
        prompt_template: For text-conditional models: a prompt with ``{}`` where the class name goes.
        scheduler: For a bare network: its diffusers scheduler, of which only the configuration is read.
        device: Where to compute; default: where the model is.

    Raises:
        TypeError: If classes are not strings, or `search` is not a search.
        ValueError: If classes are missing, fewer than two or repeated, if the model is of an unsupported kind, or if an
            argument is out of range.

    Example:
        >>> from vl_core.data import open_dataset
        >>> pictures = open_dataset("fashion", split="test")
        >>> classifier = DiffusionClassifier.from_pretrained("fashion", search=Staged((2, 8), (3, 1)))
        >>> result = classifier.classify([pictures[i][0] for i in range(2)])
        >>> result.errors.shape
        (2, 10)
    """

    def __init__(
        self,
        model: Any,
        classes: Sequence[str] | None = None,
        *,
        search: Search | None = None,
        objective: Objective = "l2",
        seed: int = 0,
        batch_size: int = 64,
        temperature: float = 1.0,
        prompt_template: str = "a photo of a {}.",
        scheduler: Any | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        check_objective(objective)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if not 0 <= seed < 2**31:
            raise ValueError(f"seed must be in 0 ... 2**31 - 1, got {seed}")
        self.denoiser = as_denoiser(model, scheduler=scheduler, prompt_template=prompt_template, device=device)
        self.classes = _checked_classes(self.denoiser.class_names if classes is None else classes)
        self.search: Search = Staged() if search is None else _checked_search(search)
        self.temperature = temperature
        condition = self.denoiser.encode_classes(self.classes)
        self._engine = Engine(self.denoiser, self.classes, condition, objective, seed, batch_size)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        classes: Sequence[str] | None = None,
        *,
        torch_dtype: torch.dtype | None = None,
        prompt_template: str = "a photo of a {}.",
        device: str | torch.device | None = None,
        **settings: Any,
    ) -> DiffusionClassifier:
        """Load a model and build the classifier.

        Args:
            path_or_id: ``"fashion"`` (the model that ships with the package), a local folder, or a hub id
                ``owner/name``. A folder is either a pipeline's (``model_index.json``) or a bare network's
                (``config.json`` beside ``scheduler_config.json`` and, where there are names, ``classes.json``).
            classes: Class names; default: those of the model, if it has some.
            torch_dtype: Precision of the network; float32 by default. The schedule and the errors stay float32.
            prompt_template: See the class.
            device: See the class.
            **settings: The class's other arguments.

        Raises:
            FileNotFoundError: If there is no such folder, and no such model on the hub.
            ValueError: If the folder holds no model that is supported.
        """
        denoiser = load_denoiser(path_or_id, torch_dtype=torch_dtype, prompt_template=prompt_template)
        return cls(denoiser, classes, device=device, **settings)

    def classify(
        self, images: Any, *, image_ids: Sequence[int] | None = None, progress: bool = False
    ) -> Classification:
        """Classify one image or a sequence of images.

        Args:
            images: One image or a sequence of them, sizes may differ: PIL images, uint8 arrays ``(H, W, 3)`` or
                ``(H, W)``, float tensors ``(C, H, W)`` in [0, 1]; a tensor ``(B, C, H, W)`` is a sequence, and so is a
                data set, of whose items ``(image, label)`` the image is taken. Each is scaled and centre-cropped to the
                model's size.
            image_ids: An integer (64 bits, signed) for each image, to which its noise belongs. By default it is made
                from the pixels, so that the same picture meets the same noise wherever it stands.
            progress: Show a bar that counts evaluations.

        Returns:
            Errors, evaluations, predictions and probabilities, in the order of the images.

        Raises:
            TypeError: If `images` is no sequence, an image is of no known kind, or an id is no integer.
            ValueError: If there is no image, if one is NaN, out of range, or neither grey nor RGB, if an id has more
                than 64 bits, or if the network returns NaN or infinity.
        """
        sequence = [images] if _is_single(images) else images
        parts = list(self.stream(sequence, image_ids=image_ids, progress=progress))
        if not parts:
            raise ValueError("images is empty; pass at least one image")
        return concatenate(parts)

    def stream(
        self, images: Sequence[Any], *, image_ids: Sequence[int] | None = None, progress: bool = False
    ) -> Iterator[Classification]:
        """Classify a sequence a few images at a time, reading each only when its turn comes.

        Args:
            images: As for :meth:`classify`; anything with a length and integer indices, such as a list or a data set.
            image_ids: As for :meth:`classify`.
            progress: Show a bar that counts evaluations.

        Yields:
            Results in order, of 1 (where one image fills the batches) to 16 images at a time.
        """
        if not (hasattr(images, "__len__") and hasattr(images, "__getitem__")):
            raise TypeError(
                f"images must have a length and integer indices, got {type(images).__name__}; make a list of it"
            )
        known_ids = None if image_ids is None else _checked_ids(image_ids, len(images))
        total, at_once = len(images) * self.search.budget(len(self.classes)), self._images_at_once()
        with tqdm(total=total, desc="classify", unit="eval", unit_scale=True, disable=not progress) as bar:
            for start in range(0, len(images), at_once):
                places = range(start, min(start + at_once, len(images)))
                tensors = [_checked_image(images[i], i) for i in places]
                ids = [content_id(t) for t in tensors] if known_ids is None else known_ids[places.start : places.stop]
                yield self._classify(tensors, np.array(ids, np.int64), bar.update)

    def _images_at_once(self) -> int:
        """Enough to fill four batches in an average stage, and no more: an interruption loses unfinished images."""
        budget = self.search.budget(len(self.classes))
        return max(1, min(_IMAGES_AT_ONCE, 4 * self._engine.batch_size * self.search.num_stages // budget))

    def _classify(self, images: list[Tensor], ids: np.ndarray, advance: Callable[[int], object]) -> Classification:
        size, channels = self.denoiser.image_size, self.denoiser.image_channels
        with torch.no_grad():
            latents = self.denoiser.encode_images(torch.stack([fit(image, size, channels) for image in images]))
        scale = latents[0].numel() / self.temperature
        return concatenate(
            [
                summarise(t.errors, t.prediction, classes=self.classes, image_id=int(ids[t.image]), scale=scale)
                for t in self._engine.run(latents, ids, self.search, advance)
            ]
        )


def _checked_classes(classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is None:
        raise ValueError("classes is missing, and the model does not name its own; pass the class names")
    if isinstance(classes, str):
        raise ValueError(f"classes must be a sequence of names, got the single string {classes!r}")
    names = tuple(classes)
    if strangers := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"classes must be strings, got {strangers[0]!r} of type {type(strangers[0]).__name__}")
    if len(names) < 2:
        raise ValueError(f"classes must hold at least two names to choose between, got {len(names)}: {list(names)}")
    if blank := [i for i, name in enumerate(names) if not name.strip()]:
        raise ValueError(f"classes must not be blank, but entries {blank} are")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"classes must all differ, got {', '.join(map(repr, repeated))} more than once")
    return names


def _checked_search(search: Search) -> Search:
    # The class itself has the members, too, and no settings.
    members = ("num_draws", "num_stages", "budget", "requests")
    if isinstance(search, type) or not all(hasattr(search, name) for name in members):
        raise TypeError(f"search must be a search, such as Staged() or Exhaustive(), got {search!r}")
    return search


def _checked_ids(image_ids: Sequence[int], count: int) -> list[int]:
    if len(image_ids) != count:
        raise ValueError(f"image_ids needs one entry for each of the {count} images, got {len(image_ids)}")
    ids = []
    for given in image_ids:
        try:
            ids.append(operator.index(given))
        except TypeError:
            raise TypeError(f"image_ids must be integers, got {given!r} of type {type(given).__name__}") from None
        if not -(2**63) <= ids[-1] < 2**63:
            raise ValueError(f"image_ids must fit into 64 bits, signed, got {given}; a hash can be cut with % 2**63")
    return ids


def _is_single(images: Any) -> bool:
    """Whether this is one image: Pillow's, or an array or tensor of at most three dimensions."""
    return isinstance(images, Image.Image) or (hasattr(images, "ndim") and images.ndim <= 3)


def _checked_image(image: Any, index: int) -> Tensor:
    if isinstance(image, tuple) and image:
        # An item of a data set: the image and its label.
        image = image[0]
    try:
        return to_tensor(image)
    except (TypeError, ValueError) as error:
        raise type(error)(f"image {index}: {error}") from error
