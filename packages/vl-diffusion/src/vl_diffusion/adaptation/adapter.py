"""Test-time adaptation: a model learns from a diffusion model's opinion of its prediction, image by image.

Prabhudesai, Ke, Li, Pathak & Fragkiadaki (2023), "Diffusion-TTA: Test-time Adaptation of Discriminative Models via
Generative Feedback". The model's prediction conditions the diffusion model, whose denoising error then says how well
the prediction explains the image; the error's gradient flows back into the model.

The error depends on the model through its output alone. So its gradient in the output is summed up over all draws
first, and then goes through the model once, instead of once for every batch of draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from vl_core.data import checked_ids, checked_image, is_single_image

from vl_diffusion.adaptation.adapted_parameters import AdaptationConfig, AdaptedParameters, Optimizer, OptimizerName
from vl_diffusion.adaptation.batch_norm import BatchNorm, evaluating
from vl_diffusion.adaptation.episode import Episode
from vl_diffusion.adaptation.evaluator import DifferentiableEvaluator, Passes
from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.gates import EvidenceGate, Gate, PairedGate
from vl_diffusion.adaptation.losses import (
    DUSA,
    AdaptationLoss,
    Context,
    DiffusionTTA,
    Entropy,
    NoAdaptation,
)
from vl_diffusion.adaptation.result import Adaptation, concatenate
from vl_diffusion.adaptation.selection import LoRA, ParameterSelection, Weights
from vl_diffusion.adaptation.tasks import ClassificationTask, Task
from vl_diffusion.checks import checked_settings
from vl_diffusion.classification.encoding import encode
from vl_diffusion.models.denoiser import Denoiser, network_of
from vl_diffusion.models.families.callable import CallableDenoiser
from vl_diffusion.models.images import content_id
from vl_diffusion.models.loading import as_denoiser, load_denoiser
from vl_diffusion.models.schedule import NoiseSchedule

Mode = Literal["episodic", "online", "continual"]
"""Begin anew with every image; go on from one image to the next; or go on, drawn back to the source's weights."""


class TestTimeAdapter:
    """A model that adapts itself to every image before it answers.

    The model that is given is never written to: what moves are copies, so that it stays the ordinary module that it is,
    whatever happens. ``B`` is a batch of images, ``K`` the number of classes.

    Args:
        model: Any module from images to logits ``(B, K)``, to logits a pixel ``(B, K, H, W)``, or to depths
            ``(B, 1, H, W)``; an output with ``.logits`` will do.
        denoiser: What :class:`~vl_diffusion.DiffusionClassifier` takes as its model; for dense predictions a
            :class:`~vl_diffusion.MapConditionalDenoiser`. None for objectives without one.
        classes: Names of the logits, in their order; default: those of the denoiser.
        task: What the model predicts; default: classification.
        objective: What is minimized; default: :class:`~vl_diffusion.ClassEvidence` for classes,
            :class:`~vl_diffusion.DiffusionTTA` for maps.
        adapt: Which parameters move, whether or not they require a gradient: ``"all"``, ``"norm"`` (of modules whose
            class is named so), ``"last"`` (of the module that was registered last), ``"lora"``, a
            :class:`~vl_diffusion.LoRA`, or a pattern of their names.
        adapt_denoiser: The same for the diffusion model, which moves together with the model; None keeps it as it is.
        mode: Whether weights go on from image to image.
        batch_norm: Which statistics batch normalization uses.
        optimizer: ``"adam"``, ``"sgd"``, or a function from tensors to an optimizer of PyTorch's.
        learning_rate: Of a named optimizer.
        steps: Updates for each image, or each batch of them where weights go on.
        online_rate: Where weights go on and there is a gate: how far they follow those that images were answered with, from
            0 to 1. Each image is adapted to in full, with weights of its own that begin at those that go on, which
            then move this share of the way to the mean over the images that were adapted to together. Without a
            gate, images share updates, and all of what they teach goes on.
        restore_rate: For ``"continual"``: how far weights go back to the source's after each update, from 0 to 1.
        gate: Decides for each image whether to adapt, and whether to keep the outcome; None adapts to all. Default:
            :class:`~vl_diffusion.EvidenceGate` for classes and :class:`~vl_diffusion.PairedGate` for maps; none for
            objectives without a denoiser.
        preprocess: From an image ``(C, H, W)`` in [0, 1] to what the model takes; default: the image.
        images_at_once: Images that are adapted to together. With ``mode="episodic"`` or a gate each has weights of
            its own, and they only share calls of the denoiser, so memory holds as many copies of what moves; otherwise
            they share an update.
        batch_size: Rows in one call of the denoising network.
        autocast: Precision of the denoising network under autocast, such as ``torch.bfloat16``.
        checkpointing: Save memory: compute the denoising network again when its gradient is taken.
        seed: Seed of all noise, 0 or more and below 2**31.
        prompt_template: For text-conditional denoisers: a prompt with ``{}`` where the class name goes.
        scheduler: For a bare denoising network: its diffusers scheduler.
        device: Where to compute; default: where the denoiser is, or the model.

    Raises:
        ValueError: If an argument is out of range, if no parameter is meant, or if the denoiser does not fit the task.

    Example:
        >>> adapter = TestTimeAdapter(model, "fashion", steps=2)
        >>> adapter(images).predictions.shape
        torch.Size([2])
    """

    # Not a class of tests, whatever its name begins with.
    __test__ = False

    def __init__(
        self,
        model: nn.Module,
        denoiser: Any | None,
        *,
        classes: Sequence[str] | None = None,
        task: Task | None = None,
        objective: AdaptationLoss | None = None,
        adapt: str | LoRA = "all",
        adapt_denoiser: str | LoRA | None = None,
        mode: Mode = "episodic",
        batch_norm: BatchNorm = "source",
        optimizer: OptimizerName | Optimizer = "adam",
        learning_rate: float = 1e-4,
        steps: int = 5,
        online_rate: float = 0.3,
        restore_rate: float = 0.01,
        gate: Gate | Literal["default"] | None = "default",
        preprocess: Callable[[Tensor], Tensor] | None = None,
        images_at_once: int = 8,
        batch_size: int = 64,
        autocast: torch.dtype | None = None,
        checkpointing: bool = False,
        seed: int = 0,
        prompt_template: str = "a photo of a {}.",
        scheduler: Any | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        checked_settings(batch_size=batch_size, temperature=1.0, seed=seed)
        for name, value, known in (("mode", mode, Mode), ("batch_norm", batch_norm, BatchNorm)):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")
        if not callable(optimizer) and optimizer not in get_args(OptimizerName):
            raise ValueError(f"optimizer must be adam, sgd or a function that builds one, got {optimizer!r}")
        for name, number in (("steps", steps), ("images_at_once", images_at_once)):
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"{name} must be at least 1 and whole, got {number}")
        if not 0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}")
        if isinstance(gate, str) and gate != "default":
            raise ValueError(f"gate must be a gate, None or 'default', got {gate!r}")
        for argument, given, method in (("objective", objective, "parts"), ("gate", gate, "admits")):
            if isinstance(given, type) or not (given in (None, "default") or hasattr(given, method)):
                raise TypeError(f"{argument} must be an instance with a method {method}, got {given!r}")
        if not (0 <= online_rate <= 1 and 0 <= restore_rate <= 1):
            raise ValueError(f"online_rate and restore_rate must lie in [0, 1], got {online_rate} and {restore_rate}")
        if denoiser is None:
            self.denoiser: Denoiser = _absent(model)
        elif isinstance(denoiser, str | Path):
            self.denoiser = load_denoiser(denoiser)
        else:
            self.denoiser = as_denoiser(denoiser, scheduler=scheduler)
        if device is not None:
            self.denoiser = as_denoiser(self.denoiser, device=device)
            model = model.to(device)
        self.model = model
        self.task: Task = ClassificationTask(self.denoiser, classes, prompt_template) if task is None else task
        self.objective = _default_objective(self.task) if objective is None else objective
        self.gate = _default_gate(self.task, self.objective) if gate == "default" else gate
        self.mode, self.batch_norm, self.steps, self.online_rate = mode, batch_norm, steps, online_rate
        self.optimizer, self.learning_rate = optimizer, learning_rate
        self.preprocess = preprocess
        self.images_at_once = images_at_once
        self.batch_size, self.autocast, self.checkpointing, self.seed = batch_size, autocast, checkpointing, seed
        network = network_of(self.denoiser)
        if adapt_denoiser is not None and isinstance(self.objective, ClassEvidence | Entropy | NoAdaptation):
            raise ValueError(f"{type(self.objective).__name__} teaches the denoiser nothing; leave out adapt_denoiser")
        if adapt_denoiser is not None and network is None:
            raise ValueError(f"adapt_denoiser is given, and {type(self.denoiser).__name__} shows no network")
        self._fresh = AdaptationConfig(
            ParameterSelection(model, adapt, seed),
            ParameterSelection(network, adapt_denoiser, seed)
            if network is not None and adapt_denoiser is not None
            else None,
            optimizer,
            learning_rate,
            restore_rate if mode == "continual" else 0.0,
        )
        self._state: AdaptedParameters | None = None
        # Whether images share updates, as they do where nothing decides for each of them.
        self._shares = mode != "episodic" and self.gate is None

    @property
    def moving(self) -> tuple[str, ...]:
        """Names of the model's parameters that move."""
        return self._fresh.model.names

    def reset(self) -> None:
        """Forget what was learned online: begin at the source's weights again."""
        self._state = None

    def adapted_weights(self) -> Weights:
        """The model's parameters as they are now, by name, detached: the source's, unless weights go on.

        ``model.load_state_dict(adapter.adapted_weights(), strict=False)`` writes them into a model.
        """
        state = self._fresh() if self._state is None else self._state
        return {name: value.detach().clone() for name, value in state.model_weights().items()}

    def state_dict(self) -> dict[str, Any]:
        """What was learned online, with the optimizer's memory, to go on from later; empty if nothing was."""
        return {} if self._state is None else self._state.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave to an adapter with the same settings.

        Raises:
            ValueError: If other parameters moved there, or if this adapter is episodic.
        """
        if state and self.mode == "episodic":
            raise ValueError("mode='episodic' keeps nothing from image to image; use 'online' or 'continual'")
        fresh = self._fresh() if state else None
        if fresh is not None:
            fresh.load_state_dict(state)
        self._state = fresh

    def __call__(self, images: Any, *, image_ids: Sequence[int] | None = None, progress: bool = False) -> Adaptation:
        """Adapt to one image or a sequence of them, and predict.

        Args:
            images: As for :meth:`vl_diffusion.DiffusionClassifier.classify`.
            image_ids: An integer (64 bits, signed) for each, to which its noise belongs; default: made from the pixels.
            progress: Show a bar.

        Raises:
            TypeError: If `images` is no sequence, or an image is of no known kind.
            ValueError: If there is no image, if one is NaN or out of range, or if the model's outputs do not fit.
        """
        sequence = [images] if is_single_image(images) else images
        found = list(self.stream(sequence, image_ids=image_ids, progress=progress))
        if not found:
            raise ValueError("images is empty; pass at least one image")
        return concatenate(found)

    def stream(
        self, images: Sequence[Any], *, image_ids: Sequence[int] | None = None, progress: bool = False
    ) -> Iterator[Adaptation]:
        """Adapt to a sequence in its order, `images_at_once` images at a time, reading them when their turn comes.

        Args:
            images: As for :meth:`__call__`; anything with a length and integer indices.
            image_ids: As for :meth:`__call__`.
            progress: Show a bar.

        Yields:
            Results of the next images. With weights that go on, :meth:`state_dict` then stands after them.
        """
        ids = None if image_ids is None else checked_ids(image_ids, len(images))
        # Weights of the diffusion model cannot differ within a call of it.
        together = 1 if not self._shares and self._fresh.denoiser else self.images_at_once
        with tqdm(total=len(images), desc="adapt", unit="image", disable=not progress) as bar:
            for start in range(0, len(images), together):
                places = range(start, min(start + together, len(images)))
                tensors = [checked_image(images[i], i) for i in places]
                chosen = ids[start : places.stop] if ids is not None else [content_id(tensor) for tensor in tensors]
                yield self._undisturbed(tensors, np.asarray(chosen, dtype=np.int64))
                bar.update(len(places))

    def _undisturbed(self, tensors: Sequence[Tensor], image_ids: np.ndarray) -> Adaptation:
        """Adapt, whatever gradient mode the caller is in; if anything goes wrong, what was learned before stays."""
        before = self._state.state_dict() if self._state is not None and self._shares else None
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return self._adapt([tensor.clone() for tensor in tensors], image_ids)
        except BaseException:
            if before is not None and self._state is not None:
                self._state.load_state_dict(before)
            elif self._shares:
                self._state = None
            raise

    def _adapt(self, tensors: Sequence[Tensor], image_ids: np.ndarray) -> Adaptation:
        inputs = self._inputs(tensors)
        if self.mode != "episodic":
            self._state = self._state or self._fresh()
        if self._state is None:
            moving = [self._fresh() for _ in tensors]
        else:
            moving = [self._state] if self._shares else [self._state.branch() for _ in tensors]
        with evaluating(self.model, self.batch_norm) as buffers:
            episode = Episode(self.model, buffers, inputs, moving, self._shares, self.objective, self.steps, self.gate)
            source = episode.source()
            self._check(source, image_ids)
            with torch.no_grad():
                everyone = torch.arange(len(tensors))
                arrived = source if self._state is None else torch.cat(episode.outputs(everyone))
            passes = Passes.of(len(tensors))
            feedback = DifferentiableEvaluator(
                self.denoiser,
                encode(self.denoiser, tensors),
                image_ids,
                seed=self.seed,
                batch_size=self.batch_size,
                weights=None if self._fresh.denoiser is None else moving[0].denoiser_weights,
                passes=passes,
                place=everyone,
                autocast=self.autocast,
                checkpointing=self.checkpointing,
            )
            outputs, adapted = episode.run(Context(self.task, feedback, arrived.float().to(self.denoiser.device)))
        if self._state is not None and not self._shares:
            self._state.follow(moving, self.online_rate)
        return Adaptation(
            source=source.float().cpu(),
            outputs=outputs.cpu(),
            losses=episode.losses,
            updates=episode.updates,
            adapted=adapted,
            restored=episode.restored,
            forward_passes=passes.forward,
            backward_passes=passes.backward,
        )

    def _inputs(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What the model takes, an image each, where its parameters are."""
        device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
        inputs = [(tensor if self.preprocess is None else self.preprocess(tensor)).to(device) for tensor in tensors]
        if self._shares and len({tuple(one.shape) for one in inputs}) > 1:
            raise ValueError(
                "images that share an update must have one size, got "
                + ", ".join(sorted({str(tuple(one.shape)) for one in inputs}))
                + "; bring them to one with preprocess=, or use images_at_once=1"
            )
        return inputs

    def _check(self, outputs: Tensor, image_ids: np.ndarray) -> None:
        self.task.check(outputs, len(image_ids))
        bad = ~torch.isfinite(outputs).flatten(1).all(1)
        if bad.any():
            raise ValueError(f"the model's output for image {int(bad.nonzero()[0])} of these is NaN or infinite")


def _absent(model: nn.Module) -> Denoiser:
    """What stands in for a denoiser that objectives without one do not ask."""

    def predict(x_t: Tensor, time: Tensor, condition: object) -> Tensor:
        raise ValueError("the objective or the gate asks a denoiser, and denoiser is None; give one")

    return CallableDenoiser(
        predict,
        NoiseSchedule.from_config({"beta_schedule": "linear"}),
        image_size=1,
        encode_classes=lambda names: torch.zeros(len(names), 1),
        device=next((parameter.device for parameter in model.parameters()), torch.device("cpu")),
    )


def _default_objective(task: Task) -> AdaptationLoss:
    return ClassEvidence() if isinstance(task, ClassificationTask) else DiffusionTTA()


def _default_gate(task: Task, objective: AdaptationLoss) -> Gate | None:
    if isinstance(objective, ClassEvidence):
        return EvidenceGate(objective)
    if isinstance(objective, DiffusionTTA | DUSA):
        return EvidenceGate() if isinstance(task, ClassificationTask) else PairedGate()
    return None
