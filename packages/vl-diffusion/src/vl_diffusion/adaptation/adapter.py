"""Test-time adaptation: a model is fine-tuned on each image by the denoising error of its own prediction.

Prabhudesai, Ke, Li, Pathak & Fragkiadaki (2023), "Diffusion-TTA: Test-time Adaptation of Discriminative Models via
Generative Feedback". The model's prediction conditions a diffusion model, whose denoising error says how well the
prediction explains the image; the error's gradient flows back into the model. The updates are in
:mod:`vl_diffusion.adaptation.episode`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from vl_core.data import checked_ids
from vl_core.devices import checked_device, input_weight
from vl_core.progress import progress_bar

from vl_diffusion.adaptation.adapted_parameters import AdaptationConfig, AdaptedParameters, Optimizer, OptimizerName
from vl_diffusion.adaptation.episode import BatchNorm, Episode, evaluation_mode
from vl_diffusion.adaptation.evaluator import DifferentiableEvaluator, Passes
from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.gates import Gate, default_gate
from vl_diffusion.adaptation.losses import AdaptationLoss, Context, DiffusionTTA, Entropy, NoAdaptation
from vl_diffusion.adaptation.result import Adaptation, concatenate
from vl_diffusion.adaptation.selection import LoRA, ParameterSelection, Weights
from vl_diffusion.adaptation.tasks import ClassificationTask, Task
from vl_diffusion.checks import checked_autocast, checked_settings
from vl_diffusion.classification.encoding import encode
from vl_diffusion.models.denoiser import Denoiser, network_of
from vl_diffusion.models.image_stream import count_images, load_each
from vl_diffusion.models.images import content_id
from vl_diffusion.models.loading import as_denoiser, load_denoiser

Mode = Literal["episodic", "online", "continual"]
"""Start from the source's weights for every image; carry weights from image to image; or carry them and restore a
share of the source's weights after each update."""


class TestTimeAdapter:
    """Adapts a model to each image before it predicts.

    The given model is never written to: copies of its parameters are adapted. ``B`` is a batch of images, ``K`` the
    number of classes.

    Args:
        model: Any module from images to logits ``(B, K)``, to logits for each pixel ``(B, K, H, W)``, or to depths
            ``(B, 1, H, W)``; or to an output with ``logits``, or a tuple that begins with them. It is called on its own
            device and in its own precision, also if it is moved or converted later; gray images are repeated for a
            model that takes three channels.
        denoiser: A model as for :class:`~vl_diffusion.DiffusionClassifier`; for dense predictions a
            :class:`~vl_diffusion.MapConditionalDenoiser`. None for objectives without one.
        classes: Names of the logits, in their order; by default those of the denoiser.
        task: What the model predicts; by default classification.
        objective: The loss; by default :class:`~vl_diffusion.ClassEvidence` for classes,
            :class:`~vl_diffusion.DiffusionTTA` for maps.
        adapt: The parameters that are adapted, whether or not they require a gradient: ``"all"``, ``"norm"`` (of
            modules whose class is named so), ``"last"`` (of the module that was registered last), ``"all_but_last"``,
            ``"leaves_but_last"`` (as in the published runs), ``"lora"``, a :class:`~vl_diffusion.LoRA`, or a pattern of
            their names.
        adapt_denoiser: The same for the diffusion model, which is adapted together with the model; None freezes it.
        mode: Whether weights carry over from image to image.
        batch_norm: The statistics that batch normalization uses.
        optimizer: ``"adam"``, ``"sgd"``, or a function from tensors to a PyTorch optimizer.
        learning_rate: Of a named optimizer.
        steps: Updates for each image, or for each batch of images that share them.
        online_rate: Online and with a gate, from 0 to 1: each image is adapted to in full, with weights of its own that
            begin at the online weights, which then move this share of the way to the mean over the images that were
            adapted to together. Without a gate, images share updates of the online weights themselves.
        restore_rate: For ``"continual"``: share of the way back to the source's weights after each update, from 0 to 1.
        gate: Decides for each image whether to adapt, and whether to keep an update; None adapts to all. By default
            :class:`~vl_diffusion.EvidenceGate` for classes and :class:`~vl_diffusion.PairedGate` for maps; none for
            objectives without a denoiser.
        preprocess: From an image ``(C, H, W)`` in [0, 1] to the model's input; by default the image. Inputs are
            converted to the model's device and precision.
        images_at_once: Images that are adapted to together. With ``mode="episodic"`` or a gate they only share calls of
            the denoiser, and memory holds a copy of the adapted parameters for each; otherwise they share an update.
        batch_size: Rows in one call of the denoising network.
        autocast: Precision of the denoising network under autocast, such as ``torch.bfloat16`` or ``"bfloat16"``.
        checkpointing: Save memory by recomputing the denoising network in the backward pass.
        seed: Seed of all noise, 0 or more and below 2**31.
        prompt_template: For text-conditional denoisers: a prompt with ``{}`` in place of the class name.
        scheduler: For a bare denoising network: its diffusers scheduler.
        device: Where to compute; by default where the denoiser is, or the model.

    Raises:
        TypeError: If the model is no module.
        ValueError: If an argument is out of range, if no parameter is selected, or if the denoiser does not fit the
            task.

    Example:
        >>> adapter = TestTimeAdapter(model, "fashion", steps=2)
        >>> adapter(images).predictions.shape
        torch.Size([2])
    """

    # Not a class of tests, despite its name.
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
        autocast: str | torch.dtype | None = None,
        checkpointing: bool = False,
        seed: int = 0,
        prompt_template: str = "a photo of a {}.",
        scheduler: Any | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        checked_settings(batch_size=batch_size, temperature=1.0, seed=seed)
        _check(mode, batch_norm, optimizer, learning_rate, steps, images_at_once, online_rate, restore_rate)
        _check_instances(objective, gate)
        _check_model(model)
        if denoiser is None and classes is None and task is None:
            raise ValueError("denoiser is None, and classes too; pass a denoiser, or classes for an objective without")
        precision = checked_autocast(autocast)
        self.denoiser = None if denoiser is None else _load(denoiser, scheduler, device)
        if device is not None:
            model = model.to(device)
        self.model = model
        self.task: Task = ClassificationTask(self.denoiser, classes, prompt_template) if task is None else task
        self.objective = _default_objective(self.task) if objective is None else objective
        self.gate = default_gate(self.task, self.objective) if gate == "default" else gate
        self.mode, self.batch_norm, self.steps, self.online_rate = mode, batch_norm, steps, online_rate
        self.optimizer, self.learning_rate, self.preprocess = optimizer, learning_rate, preprocess
        self.images_at_once = images_at_once
        self.batch_size, self.autocast, self.checkpointing, self.seed = batch_size, precision, checkpointing, seed
        self._config = AdaptationConfig(
            ParameterSelection(model, adapt, seed),
            None if adapt_denoiser is None else ParameterSelection(self._adaptable_network(), adapt_denoiser, seed),
            optimizer,
            learning_rate,
            restore_rate if mode == "continual" else 0.0,
        )
        self._online: AdaptedParameters | None = None
        self._repeats_gray = False
        # Images share updates unless a gate decides for each of them.
        self._shared = mode != "episodic" and self.gate is None

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the model's parameters that are adapted."""
        return self._config.model.names

    def reset(self) -> None:
        """Forget what was learned online, and return to the source's weights."""
        self._online = None

    def adapted_weights(self) -> Weights:
        """The model's current parameters by name, detached: the online ones, or the source's if there are none.

        ``model.load_state_dict(adapter.adapted_weights(), strict=False)`` writes them into a model.
        """
        current = AdaptedParameters(self._config) if self._online is None else self._online
        return {name: value.detach().clone() for name, value in current.model_weights().items()}

    def state_dict(self) -> dict[str, Any]:
        """Online parameters and their optimizer's state; empty if there are none."""
        return {} if self._online is None else self._online.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from the :meth:`state_dict` of an adapter with the same settings.

        Raises:
            ValueError: If it belongs to other parameters, or if this adapter is episodic.
        """
        if not state:
            self._online = None
            return
        if self.mode == "episodic":
            raise ValueError("mode='episodic' has no state to resume from; use 'online' or 'continual'")
        loaded = AdaptedParameters(self._config)
        loaded.load_state_dict(state)
        self._online = loaded

    def __call__(self, images: Any, *, image_ids: Iterable[int] | None = None, progress: bool = False) -> Adaptation:
        """Adapt to one image or several, and predict.

        Args:
            images: As for :meth:`vl_diffusion.DiffusionClassifier.classify`.
            image_ids: An integer (64 bits, signed) for each, which its noise depends on; by default a
                hash of the pixels.
            progress: Show a progress bar.

        Raises:
            TypeError: If `images` holds no images, or an image is of no known kind.
            ValueError: If there is no image, if one is NaN or out of range, or if the model's outputs do not fit.
        """
        found = list(self.stream(images, image_ids=image_ids, progress=progress))
        if not found:
            raise ValueError("images is empty; pass at least one image")
        return concatenate(found)

    def stream(
        self, images: Any, *, image_ids: Iterable[int] | None = None, progress: bool = False
    ) -> Iterator[Adaptation]:
        """Adapt to images in their order, reading `images_at_once` images at a time.

        Args:
            images: As for :meth:`__call__`; an iterable need not end.
            image_ids: As for :meth:`__call__`.
            progress: Show a progress bar.

        Yields:
            Results of the next images. Online, :meth:`state_dict` then includes what was learned from them.
        """
        count = count_images(images)
        ids = None if image_ids is None else checked_ids(image_ids, count)
        loaded = load_each(images, counts=() if ids is None else (len(ids),))
        # One call of the denoiser has one set of weights.
        group = 1 if not self._shared and self._config.denoiser else self.images_at_once
        with progress_bar(total=count, desc="adapt", unit="image", disable=not progress) as bar:
            while members := list(islice(loaded, group)):
                tensors = [tensor for _, tensor in members]
                chosen = [content_id(tensor) if ids is None else ids[i] for i, tensor in members]
                yield self._adapt_or_roll_back(tensors, np.asarray(chosen, dtype=np.int64))
                bar.update(len(members))

    def _adapt_or_roll_back(self, tensors: Sequence[Tensor], image_ids: np.ndarray) -> Adaptation:
        """Adapt, whatever gradient mode the caller is in; after an error, online weights are what they were before."""
        before = self._online.state_dict() if self._online is not None and self._shared else None
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return self._adapt([tensor.clone() for tensor in tensors], image_ids)
        except BaseException:
            if before is not None and self._online is not None:
                self._online.load_state_dict(before)
            elif self._shared:
                self._online = None
            raise

    def _adapt(self, tensors: Sequence[Tensor], image_ids: np.ndarray) -> Adaptation:
        inputs = self._inputs(tensors)
        if self.mode != "episodic" and self._online is None:
            self._online = AdaptedParameters(self._config)
        if self._online is None:
            parameters = [AdaptedParameters(self._config) for _ in tensors]
        else:
            parameters = [self._online] if self._shared else [self._online.branch() for _ in tensors]
        passes = Passes.zeros(len(tensors))
        with evaluation_mode(self.model, self.batch_norm) as buffers:
            episode = Episode(
                self.model, buffers, inputs, parameters, self._shared, self.objective, self.steps, self.gate
            )
            source = self._source(episode)
            self._check(source, image_ids)
            with torch.no_grad():
                before = source if self._online is None else torch.cat(episode.predict(torch.arange(len(tensors))))
            evaluator = self._evaluator(tensors, image_ids, parameters[0], passes)
            device = before.device if self.denoiser is None else self.denoiser.device
            outputs, adapted = episode.run(Context(self.task, evaluator, before.float().to(device)))
        if self._online is not None and not self._shared:
            self._online.follow(parameters, self.online_rate)
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

    def _evaluator(
        self, tensors: Sequence[Tensor], image_ids: np.ndarray, parameters: AdaptedParameters, passes: Passes
    ) -> DifferentiableEvaluator | None:
        if self.denoiser is None:
            return None
        return DifferentiableEvaluator(
            self.denoiser,
            encode(self.denoiser, tensors),
            image_ids,
            seed=self.seed,
            batch_size=self.batch_size,
            weights=None if self._config.denoiser is None else parameters.denoiser_weights,
            passes=passes,
            place=torch.arange(len(tensors)),
            autocast=self.autocast,
            checkpointing=self.checkpointing,
        )

    def _inputs(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The model's input for each image, on the model's device and in its precision."""
        weight = input_weight(self.model)
        inputs = [tensor if self.preprocess is None else _prepared(self.preprocess, tensor) for tensor in tensors]
        if weight is not None:
            inputs = [one.to(weight.device, weight.dtype if one.is_floating_point() else None) for one in inputs]
        if self._repeats_gray or (self.preprocess is None and len({len(one) for one in inputs}) > 1):
            inputs = _repeat_gray(inputs)
        if self._shared and len({tuple(one.shape) for one in inputs}) > 1:
            raise ValueError(
                "images that share an update must have one size, got "
                + ", ".join(sorted({str(tuple(one.shape)) for one in inputs}))
                + "; resize them with preprocess=, or use images_at_once=1"
            )
        return inputs

    def _source(self, episode: Episode) -> Tensor:
        """Outputs of the model as it was given; gray images are repeated if it takes them in color alone.

        Raises:
            ValueError: If the model fails on the images, or mixes precisions or devices.
        """
        try:
            return episode.source()
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            given, failure = episode.inputs, error
        if (advice := _advice(self.model, given, failure)) is not None:
            raise ValueError(advice) from failure
        shapes = ", ".join(sorted({str(tuple(one.shape)) for one in given}))
        if self.preprocess is not None:
            raise ValueError(
                f"the model fails on inputs {shapes} from preprocess= ({_one_line(failure)}); preprocess must return "
                "the model's input for one image, such as (C, H, W), without a dimension for the batch"
            ) from failure
        reason = _one_line(failure)
        if not self._repeats_gray and any(one.shape[0] == 1 for one in given):
            try:
                episode.inputs = _repeat_gray(given)
                outputs = episode.source()
            except torch.OutOfMemoryError:
                raise
            except (AssertionError, RuntimeError, ValueError) as error:
                # Where the channels were the fault, the repeated ones show the next one.
                if (advice := _advice(self.model, episode.inputs, error)) is not None:
                    raise ValueError(advice) from error
                if _one_line(error) != reason:
                    reason = f"{reason}; with three equal channels: {_one_line(error)}"
            else:
                self._repeats_gray = True
                return outputs
        raise ValueError(
            f"the model fails on images {shapes} ({reason}); pass preprocess=, which prepares "
            "an image for it, such as Preprocessing(size, mean, std)"
        ) from failure

    def _adaptable_network(self) -> nn.Module:
        """The denoising network, or a ValueError if it has none to adapt or the objective has no gradient for it."""
        if self.denoiser is None:
            raise ValueError("adapt_denoiser is given, and denoiser is None; pass one, or leave out adapt_denoiser")
        if isinstance(self.objective, ClassEvidence | Entropy | NoAdaptation):
            raise ValueError(
                f"{type(self.objective).__name__} has no gradient for the denoiser; leave out adapt_denoiser"
            )
        network = network_of(self.denoiser)
        if network is None:
            raise ValueError(
                f"adapt_denoiser is given, and {type(self.denoiser).__name__} has no network to adapt; leave it out"
            )
        return network

    def _check(self, outputs: Tensor, image_ids: np.ndarray) -> None:
        self.task.check(outputs, len(image_ids))
        bad = ~torch.isfinite(outputs).flatten(1).all(1)
        if bad.any():
            raise ValueError(f"the model's output for image {int(bad.nonzero()[0])} of these is NaN or infinite")


def _check(
    mode: Mode,
    batch_norm: BatchNorm,
    optimizer: OptimizerName | Optimizer,
    learning_rate: float,
    steps: int,
    images_at_once: int,
    online_rate: float,
    restore_rate: float,
) -> None:
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
    if not (0 <= online_rate <= 1 and 0 <= restore_rate <= 1):
        raise ValueError(f"online_rate and restore_rate must lie in [0, 1], got {online_rate} and {restore_rate}")


def _repeat_gray(inputs: Sequence[Tensor]) -> list[Tensor]:
    return [one.expand(3, -1, -1) if one.ndim == 3 and one.shape[0] == 1 else one for one in inputs]


def _prepared(preprocess: Callable[[Tensor], object], image: Tensor) -> Tensor:
    """The model's input for an image.

    Raises:
        TypeError: If `preprocess` returns no tensor.
        ValueError: If `preprocess` fails.
    """
    try:
        prepared = preprocess(image)
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"preprocess fails on an image {tuple(image.shape)} ({_one_line(error)}); it is given a float32 tensor "
            "(C, H, W) in [0, 1]"
        ) from error
    if not isinstance(prepared, Tensor):
        raise TypeError(
            "preprocess must return the model's input for one image as a tensor, such as (C, H, W), got "
            f"{type(prepared).__name__}"
        )
    return prepared


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _advice(model: nn.Module, inputs: Sequence[Tensor], failure: Exception) -> str | None:
    """The message for what no preparation of images mends, such as mixed precisions; None for other failures."""
    reason = _one_line(failure)
    if "more than 1 value per channel" in reason:
        return (
            f"batch_norm='batch' has no statistics of one value ({reason}); use batch_norm='source', or "
            "mode='online' with gate=None, whose images share updates"
        )
    weights = [*model.parameters(), *model.buffers()]
    given = " and ".join(sorted({f"{one.dtype} on {one.device}" for one in inputs}))
    if re.search(r"same device|expected device|on meta tensors", reason):
        places = {str(tensor.device) for tensor in weights}
        remedy = "load the weights that are on meta" if "meta" in places else "call model.to(device)"
    elif re.search(r"dtype|scalar type|(?:[Ii]nput|weight|bias) type|not implemented for '", reason):
        places = {str(tensor.dtype) for tensor in weights if tensor.is_floating_point()}
        prepared = all(one.is_floating_point() for one in inputs)
        remedy = "call model.to(torch.float32)" if prepared else "return floating-point numbers from preprocess="
    else:
        return None
    where = " and ".join(sorted(places)) or "no precision"
    return f"the model, whose weights are in {where}, fails on an input of {given} ({reason}); {remedy}"


def _check_model(model: object) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"model must be a plain module, whose weights can be replaced, got {type(model).__name__}; pass the "
            "module that it was traced or scripted from"
        )
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, whose parameters are adapted, got {type(model).__name__}")
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise ValueError(
            f"model must be a plain module, whose weights can be replaced, got {type(model).__name__}; pass its .module"
        )


def _check_instances(objective: object, gate: object) -> None:
    if isinstance(gate, str) and gate != "default":
        raise ValueError(f"gate must be a gate, None or 'default', got {gate!r}")
    for name, given, method in (("objective", objective, "parts"), ("gate", gate, "admits")):
        if isinstance(given, type) or not (given in (None, "default") or hasattr(given, method)):
            raise TypeError(f"{name} must be an instance with a method {method}, got {given!r}")


def _load(denoiser: Any, scheduler: Any | None, device: str | torch.device | None) -> Denoiser:
    device = checked_device(device)
    named = isinstance(denoiser, str | Path)
    loaded = load_denoiser(denoiser) if named else as_denoiser(denoiser, scheduler=scheduler)
    return loaded if device is None else as_denoiser(loaded, device=device)


def _default_objective(task: Task) -> AdaptationLoss:
    return ClassEvidence() if isinstance(task, ClassificationTask) else DiffusionTTA()
