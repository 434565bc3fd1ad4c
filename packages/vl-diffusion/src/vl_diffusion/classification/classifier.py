"""Zero-shot classification with a diffusion model: the class under which the noise is predicted best.

Li, Prabhudesai, Duggal, Brown & Pathak (2023), "Your Diffusion Model is Secretly a Zero-Shot Classifier". By the
variational bound, the class-conditional likelihood falls with the expected error of the noise prediction; with a
uniform prior, the posterior is a softmax of minus that error, and its largest entry is the class of the smallest
error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm
from vl_core.data import checked_ids, is_single_image

from vl_diffusion.checks import checked_classes, checked_logits, checked_settings
from vl_diffusion.classification.candidates import (
    Combination,
    check_combination,
    checked_templates,
    make_candidates,
    make_prompts,
)
from vl_diffusion.classification.encoding import encode, encode_each
from vl_diffusion.classification.engine import Engine, SearchState, fit_budget
from vl_diffusion.classification.result import Classification, concatenate, summarize
from vl_diffusion.models.denoiser import equal_rows, takes_prompts
from vl_diffusion.models.families.prompted import PromptedDenoiser
from vl_diffusion.models.loading import as_denoiser, load_denoiser
from vl_diffusion.models.schedule import Prediction
from vl_diffusion.scoring.aggregation import Aggregation, check_aggregation
from vl_diffusion.scoring.evaluator import ErrorEvaluator
from vl_diffusion.scoring.losses import Objective, check_objective
from vl_diffusion.scoring.weighting import Weighting, draw_weights
from vl_diffusion.search import LabelTree, Racing, Search


class DiffusionClassifier:
    """Classify images by the error with which a diffusion model predicts the noise added to them.

    The error is uniform in epsilon-space unless told otherwise: the mean over an image's values of
    ``|epsilon_hat - epsilon|^2``, averaged over evenly spaced time steps, whatever the network was trained to predict.
    All classes of an image see the same noise, and the noise is a pure function of ``(seed, image, draw)``: results do
    not depend on batch size, on the order of the images, or on an interruption.

    Args:
        model: A diffusers pipeline (Stable Diffusion 1 to 3.5, SDXL, Flux, PixArt, DiT), a class-conditional
            ``DiTTransformer2DModel`` or ``UNet2DModel`` of pixels together with `scheduler`, or any object with the
            members of :class:`~vl_diffusion.Denoiser`. Modules of diffusers are put in evaluation mode, and otherwise
            stay as they are.
        classes: Class names, at least two, all different. May be left out for a model that names its classes.
        search: How evaluations are spent: :class:`~vl_diffusion.Racing` (default), or another search of this package.
        objective: ``"l2"``, ``"l1"``, ``"huber"``, or ``"vlb"`` for models that learn a variance.
        error_space: The quantity whose error is measured: ``"epsilon"``, ``"v_prediction"``, ``"flow_prediction"``
            (velocity of a flow) or ``"sample"`` (clean image). Equal weights mean different things in each:
            ``|d epsilon| = (alpha / sigma) |d sample|``, and ``(1 - sigma) |d flow|`` for a flow. ``"vlb"`` has none.
        weighting: How much each noise level counts, see `vl_diffusion.scoring.weighting`: ``"uniform"``, ``"exponential"``,
            ``"snr"``, ``"min_snr"``, or a function, such as one of `vl_diffusion.fit_weighting`.
        aggregation: What is averaged over draws: ``"mean"`` errors, a ``"vote"`` a draw, or a ``"zscore"``; a
            :class:`~vl_diffusion.LabelTree` takes the first alone.
        time_range: The part of the schedule that draws are spread over, from 0 (no noise) to 1.
        seed: Seed of the noise, 0 or more and below 2**31.
        batch_size: Evaluations in one call of the network.
        temperature: Divides the summed error before the softmax that gives the probabilities.
        prompt_template: For text-conditional models: a prompt with ``{}`` where the class name goes, or several.
        prompts: For text-conditional models: prompts of single classes, in place of the templates.
        prompt_combination: What several prompts of a class say together: ``"mean"``, ``"logsumexp"`` or ``"best"``.
        compile: Compile the network, for batches of one size.
        scheduler: For a bare network: its diffusers scheduler, of which only the configuration is read.
        image_size: For text-conditional pipelines: height and width of the images, in pixels; default: that of the
            training. Half of it is four times cheaper, and less accurate.
        device: Where to compute; default: where the model is.

    Raises:
        TypeError: If classes are not strings, `search` is not a search, or a setting is no number.
        ValueError: If classes are missing, fewer than two or repeated, if the model is of an unsupported kind, if the
            search may spend less than one draw of each class or is a label tree that would have to count votes, if an
            argument is out of range, or if `error_space` is not defined at a noise level.

    Example:
        >>> from vl_core.data import open_dataset
        >>> images = open_dataset("fashion", split="test")
        >>> classifier = DiffusionClassifier.from_pretrained("fashion", search=Staged((2, 8), (3, 1)))
        >>> result = classifier.classify([images[i][0] for i in range(2)])
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
        error_space: Prediction = "epsilon",
        weighting: Weighting = "uniform",
        aggregation: Aggregation = "mean",
        time_range: tuple[float, float] = (0.0, 1.0),
        seed: int = 0,
        batch_size: int = 64,
        temperature: float = 1.0,
        prompt_template: str | Sequence[str] = "a photo of a {}.",
        prompts: Mapping[str, Sequence[str] | str] | None = None,
        prompt_combination: Combination = "mean",
        compile: bool = False,
        scheduler: Any | None = None,
        image_size: int | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        check_aggregation(aggregation)
        check_combination(prompt_combination)
        checked_settings(batch_size=batch_size, temperature=temperature, seed=seed)
        templates = checked_templates(prompt_template)
        self.denoiser = as_denoiser(model, scheduler=scheduler, device=device, image_size=image_size)
        check_objective(objective, error_space, self.denoiser)
        self.classes = checked_classes(self.denoiser.class_names if classes is None else classes)
        self.search: Search = Racing() if search is None else _checked_search(search)
        _check_aggregation(self.search, aggregation)
        self.temperature = temperature
        self.prompt_combination: Combination = prompt_combination
        filled = None
        if takes_prompts(self.denoiser):
            filled = make_prompts(self.classes, templates, prompts)
        elif prompts is not None:
            raise ValueError("prompts are given, and the model takes class names; leave them out")
        inner_names = getattr(self.search, "inner_names", ())
        self.candidates = make_candidates(self.classes, filled, prompt_combination, inner_names, templates)
        # A budget that is too small is refused before anything is computed.
        fit_budget(self.search, self.candidates)
        steps = self.denoiser.schedule.steps(self.search.num_draws, time_range)
        condition = self.denoiser.encode_classes(self.candidates.texts)
        if isinstance(self.denoiser, PromptedDenoiser):
            for one, other in equal_rows(condition):
                # As "Cat" and "cat" are to a text encoder of small letters: their errors tie, and a race never ends.
                same = f"{self.candidates.texts[one]!r} and {self.candidates.texts[other]!r}"
                warnings.warn(f"prompts {same} are the same to the model, which cannot tell them apart", stacklevel=2)
        self.evaluator = ErrorEvaluator(
            denoiser=self.denoiser,
            condition=condition,
            texts=self.candidates.texts,
            steps=steps,
            objective=objective,
            error_space=error_space,
            seed=seed,
            batch_size=batch_size,
            compile=compile,
        )
        self.engine = Engine(
            self.evaluator,
            self.candidates,
            num_choices=len(self.candidates) - len(inner_names),
            weights=draw_weights(weighting, self.denoiser.schedule, steps).astype(np.float32),
            aggregation=aggregation,
        )

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        classes: Sequence[str] | None = None,
        *,
        torch_dtype: torch.dtype | None = None,
        image_size: int | None = None,
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
            image_size: See the class.
            device: See the class.
            **settings: The class's other arguments.

        Raises:
            FileNotFoundError: If there is no such folder, and no such model on the hub.
            ValueError: If the folder holds no model that is supported.
        """
        denoiser = load_denoiser(path_or_id, torch_dtype=torch_dtype, image_size=image_size)
        return cls(denoiser, classes, device=device, **settings)

    def classify(
        self,
        images: Any,
        *,
        image_ids: Sequence[int] | None = None,
        logits: Any | None = None,
        progress: bool = False,
    ) -> Classification:
        """Classify one image or a sequence of images.

        Args:
            images: One image or a sequence of them, sizes may differ: PIL images, uint8 arrays ``(H, W, 3)`` or
                ``(H, W)``, float tensors ``(C, H, W)`` in [0, 1]; a tensor ``(B, C, H, W)`` is a sequence, and so is a
                data set, of whose items ``(image, label)`` the image is taken. Each is scaled and center-cropped to the
                model's size.
            image_ids: An integer (64 bits, signed) for each image, to which its noise belongs. By default it is made
                from the pixels, so that the same image meets the same noise wherever it stands.
            logits: ``(B, K)``, what another model says of the classes, larger being likelier; for a search that
                begins with it (:class:`~vl_diffusion.Shortlist`).
            progress: Show a bar that counts images and evaluations.

        Returns:
            Errors, evaluations, predictions and probabilities, in the order of the images.

        Raises:
            TypeError: If `images` is no sequence, an image is of no known kind, or an id is no integer.
            ValueError: If there is no image, if one is NaN, out of range, or neither gray nor RGB, if an id has more
                than 64 bits, or if the network returns NaN or infinity.
        """
        sequence = [images] if is_single_image(images) else images
        found = dict(self.stream(sequence, image_ids=image_ids, logits=logits, progress=progress))
        if not found:
            raise ValueError("images is empty; pass at least one image")
        return concatenate([found[i] for i in range(len(found))])

    def stream(
        self,
        images: Sequence[Any],
        *,
        image_ids: Sequence[int] | None = None,
        logits: Any | None = None,
        progress: bool = False,
    ) -> Iterator[tuple[int, Classification]]:
        """Classify a sequence, reading each image only when its turn comes.

        Args:
            images: As for :meth:`classify`; anything with a length and integer indices, such as a list or a data set.
            image_ids: As for :meth:`classify`.
            logits: As for :meth:`classify`.
            progress: Show a bar that counts images and evaluations.

        Yields:
            An image's index and its result, as each image is finished: cheap ones overtake expensive ones.
        """
        if not (hasattr(images, "__len__") and hasattr(images, "__getitem__")):
            raise TypeError(
                f"images must have a length and integer indices, got {type(images).__name__}; make a list of it"
            )
        ids = None if image_ids is None else checked_ids(image_ids, len(images))
        scores = None if logits is None else checked_logits(logits, len(images), len(self.classes))
        evaluations = 0
        with tqdm(total=len(images), desc="classify", unit="image", miniters=0, disable=not progress) as bar:

            def advance(count: int) -> None:
                nonlocal evaluations
                evaluations += count
                bar.set_postfix_str(f"{evaluations:,} evaluations", refresh=False)
                bar.update(0)

            for state in self.engine.run(encode_each(self.denoiser, images, ids, scores), self.search, advance):
                bar.update(1)
                yield state.encoded.index, self.summary(state)

    def watch(self, image: Any, *, image_id: int | None = None, logits: Any | None = None) -> Iterator[Classification]:
        """Classify one image and look on: the result so far after every round of the search.

        Classes that the search has given up are `pruned` in all later results; the last result is that of
        :meth:`classify`.

        Args:
            image: As for :meth:`classify`, one.
            image_id: As for :meth:`classify`, one.
            logits: ``(K,)``, as for :meth:`classify`.

        Yields:
            Results over one image, whose prediction is the class that leads.
        """
        scores = None if logits is None else checked_logits([logits], 1, len(self.classes))
        ids = None if image_id is None else checked_ids([image_id], 1)
        encoded = next(encode_each(self.denoiser, [image], ids, scores))
        for state in self.engine.watch(encoded, self.search):
            yield self.summary(state)

    def encode(self, images: Sequence[Tensor]) -> Tensor:
        """Images ``(C, H, W)`` in [0, 1], of any size, to what the model denoises, ``(B, c, h, w)``."""
        return encode(self.denoiser, images)

    def summary(self, state: SearchState) -> Classification:
        """The result of one image, from its search, whether that has ended or not."""
        return summarize(
            state.errors,
            state.scores,
            state.leader,
            state.given_up,
            self.candidates,
            classes=self.classes,
            image_id=state.encoded.image_id,
            num_values=state.encoded.latent.numel(),
            temperature=self.temperature,
            combination=self.prompt_combination,
        )


def _checked_search(search: Search) -> Search:
    """The search, or a TypeError if it is none."""
    # The class itself has the members, too, and no settings.
    members = ("num_draws", "budget", "requests")
    if isinstance(search, type) or not all(hasattr(search, name) for name in members):
        raise TypeError(f"search must be a search, such as Staged() or Exhaustive(), got {search!r}")
    return search


def _check_aggregation(search: Search, aggregation: Aggregation) -> None:
    """Raise ValueError if the search would compare votes or z-scores that were not made among the same classes.

    A label tree asks for the errors of a draw in parts, as it comes to need them.
    """
    if aggregation == "mean":
        return
    if isinstance(search, LabelTree):
        raise ValueError(f"aggregation must be 'mean' for a LabelTree, which asks in parts, got {aggregation!r}")
    if (inner := getattr(search, "inner", None)) is not None:
        _check_aggregation(inner, aggregation)
