"""Zero-shot classification with a diffusion model: predict the class with the smallest denoising error.

Li, Prabhudesai, Duggal, Brown & Pathak (2023), "Your Diffusion Model is Secretly a Zero-Shot Classifier". By the
variational bound, the class-conditional likelihood decreases with the expected error of the noise prediction; with a
uniform prior, the posterior is the softmax of the negative errors, and the most likely class has the smallest error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from vl_core.data import checked_ids
from vl_core.devices import checked_device
from vl_core.progress import progress_bar

from vl_diffusion.checks import TimestepEmbedding, checked_classes, checked_logits, checked_settings
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
from vl_diffusion.models.image_stream import OnError, count_images
from vl_diffusion.models.loading import as_denoiser, load_denoiser
from vl_diffusion.models.schedule import Prediction
from vl_diffusion.scoring.aggregation import Aggregation, check_aggregation
from vl_diffusion.scoring.evaluator import ErrorEvaluator
from vl_diffusion.scoring.losses import check_objective
from vl_diffusion.scoring.objectives import NoiseSharing, Objective
from vl_diffusion.scoring.weighting import Weighting, draw_weights
from vl_diffusion.search import LabelTree, Racing, Search


class DiffusionClassifier:
    """Classify images by the error with which a diffusion model predicts the noise added to them.

    By default, the error is uniform in epsilon-space: the mean over an image's values of ``|epsilon_hat - epsilon|^2``,
    averaged over evenly spaced time steps, regardless of the network's prediction type. All classes of an image share
    the same noise, and the noise is a pure function of ``(seed, image, draw)``, so results do not depend on batch size,
    on the order of the images, or on interruptions.

    Args:
        model: A diffusers pipeline (Stable Diffusion 1 to 3.5, SDXL, Flux, PixArt, DiT), a class-conditional
            ``DiTTransformer2DModel`` or ``UNet2DModel`` of pixels together with `scheduler`, or any object that
            implements :class:`~vl_diffusion.Denoiser`. Modules of diffusers are put in evaluation mode, and not
            modified otherwise.
        classes: Unique class names, at least two; default: the model's own.
        search: The search strategy, such as :class:`~vl_diffusion.Racing` (default).
        objective: ``"l2"``, ``"l1"``, ``"huber"``, or ``"vlb"`` and ``"l2+vlb"`` for models with a learned variance.
        error_space: The quantity whose error is measured: ``"epsilon"``, ``"v_prediction"``, ``"flow_prediction"``
            (velocity of a flow) or ``"sample"`` (clean image). Uniform weights are not equivalent between them:
            ``|d epsilon| = (alpha / sigma) |d sample|``, and ``(1 - sigma) |d flow|`` for a flow. The
            variational objectives have none.
        weighting: Weights of the noise levels, see `vl_diffusion.scoring.weighting`: ``"uniform"``,
            ``"exponential"``, ``"snr"``, ``"min_snr"``, or a function, such as one from `vl_diffusion.fit_weighting`.
        aggregation: The quantity averaged over draws: the errors (``"mean"``), one ``"vote"`` per draw, or the
            ``"zscore"``; :class:`~vl_diffusion.LabelTree` supports only the first.
        time_range: Part of the schedule that the draws cover, from 0 (no noise) to 1.
        seed: Seed of the noise, in 0 ... 2**31 - 1.
        noise: ``"independent"`` noise on every draw; or, as published runs have it, one noise for all
            ``"timesteps"`` of an image (and one per trial of the search), or the same draws for all ``"images"``.
            Standard errors, and the test of a race, assume independent draws.
        batch_size: Evaluations per call of the network.
        temperature: Divides the summed error before the softmax that gives the probabilities.
        prompt_template: For text-conditional models: one or several prompts with ``{}`` for the class name.
        prompts: For text-conditional models: prompts of individual classes, in place of the templates.
        prompt_combination: How several prompts of a class are combined: ``"mean"``, ``"logsumexp"`` or ``"best"``.
        compile: Compile the network; all batches then have the same size.
        scheduler: For a bare network: its diffusers scheduler, of which only the configuration is read.
        image_size: For text-conditional pipelines: height and width of the images in pixels; default: the training
            resolution. Half of it is four times cheaper, and less accurate.
        timestep_embedding: For a DiT: ``"published"`` evaluates the published network, for weights converted to
            diffusers, whose own class embeds the time differently; ``"diffusers"`` evaluates that class, for models
            trained with it. ``"auto"`` takes the published one if all blocks have the same embedding, as only
            conversion makes them. Results say which was used.
        device: Device to compute on; default: the model's.

    Raises:
        TypeError: If classes are not strings, `search` is not a search, or a setting is not a number.
        ValueError: If classes are missing, fewer than two or repeated; if the model is not supported; if the budget of
            the search is less than one draw per class; if a label tree is combined with another `aggregation` than
            ``"mean"``, or a race with one noise for all time steps; if an argument is out of range; or if `error_space`
            is not defined at a noise level.

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
        noise: NoiseSharing = "independent",
        batch_size: int = 64,
        temperature: float = 1.0,
        prompt_template: str | Sequence[str] = "a photo of a {}.",
        prompts: Mapping[str, Sequence[str] | str] | None = None,
        prompt_combination: Combination = "mean",
        compile: bool = False,
        scheduler: Any | None = None,
        image_size: int | None = None,
        timestep_embedding: TimestepEmbedding = "auto",
        device: str | torch.device | None = None,
    ) -> None:
        check_aggregation(aggregation)
        check_combination(prompt_combination)
        checked_settings(batch_size=batch_size, temperature=temperature, seed=seed)
        templates = checked_templates(prompt_template)
        self.denoiser = as_denoiser(
            model,
            scheduler=scheduler,
            device=checked_device(device),
            image_size=image_size,
            timestep_embedding=timestep_embedding,
        )
        check_objective(objective, error_space, self.denoiser)
        self.classes = checked_classes(self.denoiser.class_names if classes is None else classes)
        self.search: Search = Racing() if search is None else _checked_search(search)
        _check_aggregation(self.search, aggregation)
        _check_noise(self.search, noise)
        self.temperature = temperature
        self.prompt_combination: Combination = prompt_combination
        filled = None
        if takes_prompts(self.denoiser):
            filled = make_prompts(self.classes, templates, prompts)
        elif prompts is not None:
            raise ValueError("prompts must be None for a model that takes class names; leave it out")
        inner_names = getattr(self.search, "inner_names", ())
        self.candidates = make_candidates(self.classes, filled, prompt_combination, inner_names, templates)
        # Raise for a budget that is too small before computing anything.
        fit_budget(self.search, self.candidates)
        # Consecutive draws are the trials at one time step.
        trials = _setting(self.search, "trials", 1)
        strided = _setting(self.search, "strided", False)
        places = self.denoiser.schedule.steps(self.search.num_draws // trials, time_range, strided=strided)
        steps = np.repeat(places, trials)
        condition = self.denoiser.encode_classes(self.candidates.texts)
        if isinstance(self.denoiser, PromptedDenoiser):
            for one, other in equal_rows(condition):
                # Such as "Cat" and "cat" for a lower-casing text encoder: their errors tie, and a race uses all draws.
                same = f"{self.candidates.texts[one]!r} and {self.candidates.texts[other]!r}"
                warnings.warn(f"prompts {same} are encoded identically; the model cannot tell them apart", stacklevel=2)
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
            noise=noise,
            trials=trials,
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
        dtype: str | torch.dtype | None = None,
        torch_dtype: str | torch.dtype | None = None,
        variant: str | None = None,
        config: str | Path | None = None,
        image_size: int | None = None,
        timestep_embedding: TimestepEmbedding = "auto",
        device: str | torch.device | None = None,
        **settings: Any,
    ) -> DiffusionClassifier:
        """Load a model and build the classifier.

        Args:
            path_or_id: ``"fashion"`` (the model that ships with the package), a local folder, or a hub id
                ``owner/name``. A folder is either a pipeline's (``model_index.json``) or a bare network's
                (``config.json`` beside ``scheduler_config.json`` and, where there are names, ``classes.json``). Or a
                ``.safetensors`` file of a whole Stable Diffusion, SDXL, Stable Diffusion 3 or Flux pipeline.
            classes: Class names; default: the model's own.
            dtype: Precision of the network, a dtype or its name, such as ``"float16"`` or ``"bf16"``; default: float32.
                The schedule and the errors stay float32.
            torch_dtype: The older name of `dtype`.
            variant: The variant of the weights to load, such as ``"fp16"`` for a folder saved with
                ``variant="fp16"``; default: the weights without a variant, or else the only one that there is.
            config: For a single file, which has no configuration: the folder or hub id of a saved pipeline of the same
                family and size, with the configuration, the tokenizers, and the parts that the file lacks. By default
                the published pipeline that diffusers infers, from the hub or its cache.
            image_size: See the class.
            timestep_embedding: See the class.
            device: See the class.
            **settings: Other arguments of the class.

        Raises:
            FileNotFoundError: If there is neither such a folder nor such a model on the hub.
            ValueError: If the folder has no supported model, or an argument is out of range.
        """
        device = checked_device(device)
        denoiser = load_denoiser(
            path_or_id,
            dtype=dtype,
            torch_dtype=torch_dtype,
            variant=variant,
            config=config,
            image_size=image_size,
            timestep_embedding=timestep_embedding,
        )
        return cls(denoiser, classes, device=device, **settings)

    def classify(
        self,
        images: Any,
        *,
        image_ids: Iterable[int] | None = None,
        logits: Any | None = None,
        progress: bool = False,
    ) -> Classification:
        """Classify one image or many.

        Args:
            images: One image or several of any size: PIL images, uint8 arrays ``(H, W, 3)`` or ``(H, W)``, float
                tensors ``(C, H, W)`` in [0, 1], or the bytes of encoded files. Several may be a sequence, a tensor
                ``(B, C, H, W)``, a data set, a ``DataLoader`` or another iterable, whose items are images, pairs
                ``(image, label)``, rows with a column ``"image"`` as Hugging Face data sets have them, or batches of
                these. Labels are ignored. Images are resized and center-cropped to the model's resolution.
            image_ids: A signed 64-bit integer per image that determines its noise. By default a hash of the pixels, so
                that an image always gets the same noise.
            logits: Scores ``(B, K)`` from another model, larger is likelier; used by :class:`~vl_diffusion.Shortlist`.
            progress: Show a progress bar with images and evaluations.

        Returns:
            Errors, evaluations, predictions and probabilities, in the order of the images.

        Raises:
            TypeError: If `images` holds no images, an image is of an unsupported type, or an id is not an integer.
            ValueError: If there is no image; if one cannot be decoded, has NaN, is out of range, or is neither gray nor
                RGB; if an id has more than 64 bits; or if the network returns NaN or infinity.
        """
        found = dict(self.stream(images, image_ids=image_ids, logits=logits, progress=progress))
        if not found:
            raise ValueError("images is empty; pass at least one image")
        return concatenate([found[i] for i in range(len(found))])

    def stream(
        self,
        images: Any,
        *,
        image_ids: Iterable[int] | None = None,
        logits: Any | None = None,
        progress: bool = False,
        on_error: OnError | None = None,
    ) -> Iterator[tuple[int, Classification]]:
        """Classify images lazily, reading each when it is needed.

        Args:
            images: As for :meth:`classify`; an iterable need not end.
            image_ids: As for :meth:`classify`.
            logits: As for :meth:`classify`.
            progress: Show a progress bar with images and evaluations.
            on_error: Called with the index and the error of an image that cannot be read, which is then left out; by
                default the error is raised.

        Yields:
            Index and result of each image as it finishes, which is not the order of the images.

        Raises:
            TypeError: As :meth:`classify`.
            ValueError: As :meth:`classify`, but for no image.
        """
        count = count_images(images)
        ids = None if image_ids is None else checked_ids(image_ids, count)
        scores = None
        if logits is not None:
            scores = checked_logits(logits, len(logits) if count is None else count, len(self.classes))
        evaluations = 0
        with progress_bar(total=count, desc="classify", unit="image", miniters=0, disable=not progress) as bar:

            def advance(count: int) -> None:
                nonlocal evaluations
                evaluations += count
                bar.set_postfix_str(f"{evaluations:,} evaluations", refresh=False)
                bar.update(0)

            encoded_images = encode_each(self.denoiser, images, ids, scores, on_error=on_error)
            for state in self.engine.run(encoded_images, self.search, advance):
                bar.update(1)
                yield state.image.index, self.summary(state)

    def watch(self, image: Any, *, image_id: int | None = None, logits: Any | None = None) -> Iterator[Classification]:
        """Classify one image, yielding the intermediate result after every round of the search.

        Classes pruned by the search stay `pruned` in all later results; the last result equals that of
        :meth:`classify`.

        Args:
            image: One image, see :meth:`classify`.
            image_id: Its id, see :meth:`classify`.
            logits: Scores ``(K,)``, see :meth:`classify`.

        Yields:
            Results over one image, whose prediction is the current leader.
        """
        scores = None if logits is None else checked_logits([logits], 1, len(self.classes))
        ids = None if image_id is None else checked_ids([image_id], 1)
        encoded = next(encode_each(self.denoiser, [image], ids, scores))
        for state in self.engine.watch(encoded, self.search):
            yield self.summary(state)

    def encode(self, images: Sequence[Tensor]) -> Tensor:
        """Encode images ``(C, H, W)`` in [0, 1] of any size as model inputs ``(B, c, h, w)``."""
        return encode(self.denoiser, images)

    def summary(self, state: SearchState) -> Classification:
        """Summarize the search of one image, finished or not."""
        return summarize(
            state.errors,
            state.scores,
            state.leader,
            state.pruned,
            self.candidates,
            classes=self.classes,
            image_id=state.image.image_id,
            num_values=state.image.latent.numel(),
            temperature=self.temperature,
            combination=self.prompt_combination,
            timestep_embedding=self.timestep_embedding,
        )

    @property
    def timestep_embedding(self) -> str | None:
        """The time embedding of a DiT that is used, ``"published"`` or ``"diffusers"``; None for other models."""
        return getattr(self.denoiser, "timestep_embedding", None)


def _checked_search(search: Search) -> Search:
    """Return the search, or raise TypeError if it does not implement `Search`."""
    # A class has the members as well, but no settings.
    members = ("num_draws", "budget", "requests")
    if isinstance(search, type) or not all(hasattr(search, name) for name in members):
        raise TypeError(f"search must be a search strategy, such as Staged() or Exhaustive(), got {search!r}")
    return search


def _check_aggregation(search: Search, aggregation: Aggregation) -> None:
    """Raise ValueError if the search would compare votes or z-scores over different classes.

    A label tree requests the errors of a draw in parts, as they are needed.
    """
    if aggregation == "mean":
        return
    if isinstance(search, LabelTree):
        raise ValueError(f"aggregation must be 'mean' for a LabelTree, got {aggregation!r}; use another search")
    if (inner := getattr(search, "inner", None)) is not None:
        _check_aggregation(inner, aggregation)


def _check_noise(search: Search, noise: NoiseSharing) -> None:
    """Raise ValueError for an unknown name, and for noise that voids the guarantee of a race."""
    if noise not in get_args(NoiseSharing):
        raise ValueError(f"noise must be one of {', '.join(get_args(NoiseSharing))}, got {noise!r}")
    if noise == "timesteps" and isinstance(search, Racing):
        raise ValueError(
            "noise must be 'independent' or 'images' for Racing, whose test needs independent draws, got 'timesteps'; "
            "use Staged or Exhaustive"
        )
    if (inner := getattr(search, "inner", None)) is not None:
        _check_noise(inner, noise)


def _setting(search: Search, name: str, default: Any) -> Any:
    """An optional setting of the search, or of the inner search whose draws it uses."""
    inner = getattr(search, "inner", None)
    return getattr(search, name, default) if inner is None else _setting(inner, name, default)
