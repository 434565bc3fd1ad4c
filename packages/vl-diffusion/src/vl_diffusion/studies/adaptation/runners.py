"""Methods as runs use them: a test-time adapter, and the diffusion model itself as a classifier."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.tasks import ClassificationTask
from vl_diffusion.classification.encoding import encode
from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.scoring.cached_errors import CachedErrors
from vl_diffusion.studies.adaptation.shared_evidence import (
    SharedEvidence,
    cached_evidence_errors,
    errors_of_classes,
)
from vl_diffusion.studies.adaptation.sources import Source


@dataclass(frozen=True)
class Outcome:
    """Result of one method for one image."""

    prediction: int
    """Index of the class."""

    adapted: bool
    """True if the prediction is an adapted model's; a gate may have kept the source's."""

    forward_passes: int
    """Evaluations of the denoising network."""

    backward_passes: int
    """Evaluations that a gradient was taken of."""

    cpu_seconds: float
    """CPU time: the image's share of its group's."""

    def __post_init__(self) -> None:
        for name in ("prediction", "forward_passes", "backward_passes"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} must be an int, got {getattr(self, name)!r}")


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodInputs:
    """Models and settings that every method is built from."""

    source: Source
    """The classifier."""

    denoiser: Denoiser
    """The diffusion model."""

    errors: CachedErrors
    """Errors of single classes, which all methods with one denoiser and one seed of noise share."""

    seed: int
    """Seed of the method's noise."""

    batch_size: int = 64
    """Rows in one call of the denoising network."""

    autocast: torch.dtype | None = None
    """Precision of the denoising network under autocast."""

    prompt_template: str = "a photo of a {}."
    """For text-conditional denoisers."""

    @classmethod
    def make(
        cls,
        source: Source,
        denoiser: Denoiser,
        *,
        seed: int,
        errors: CachedErrors | None = None,
        batch_size: int = 64,
        autocast: torch.dtype | None = None,
        compile: bool = False,
        prompt_template: str = "a photo of a {}.",
    ) -> MethodInputs:
        """Inputs with the errors of others with the same denoiser, classes and seed, or with a cache of their own."""
        if errors is None:
            texts = ClassificationTask(denoiser, source.classes, prompt_template).texts
            errors = cached_evidence_errors(
                denoiser, texts, ClassEvidence(), seed, batch_size=batch_size, autocast=autocast, compile=compile
            )
        return cls(
            source=source,
            denoiser=denoiser,
            errors=errors,
            seed=seed,
            batch_size=batch_size,
            autocast=autocast,
            prompt_template=prompt_template,
        )

    def evidence(self) -> SharedEvidence:
        """The default objective, on the shared errors."""
        return SharedEvidence(shared=self.errors)

    def adapter(self, **settings: Any) -> TestTimeAdapter:
        """An adapter with these settings, and its defaults for the others."""
        return TestTimeAdapter(
            self.source.model,
            self.denoiser,
            classes=self.source.classes,
            preprocess=self.source.preprocess,
            seed=self.seed,
            batch_size=self.batch_size,
            autocast=self.autocast,
            prompt_template=self.prompt_template,
            **settings,
        )


class Runner(Protocol):
    """A method that is ready to run on images."""

    @property
    def group_size(self) -> int:
        """Number of images in one call."""
        ...

    @property
    def carries_over(self) -> bool:
        """True if what is learned carries over to the next group of images, so that their order matters."""
        ...

    @property
    def settings(self) -> dict[str, object]:
        """Settings that its outcomes depend on, as JSON stores them."""
        ...

    def __call__(self, images: Sequence[Tensor], image_ids: Sequence[int]) -> list[Outcome]:
        """Outcomes of a group of images ``(C, H, W)`` in [0, 1]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """State of what was learned; empty if nothing was."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state; an empty one resets the method."""
        ...


class AdapterRunner:
    """Runs a :class:`~vl_diffusion.TestTimeAdapter`."""

    def __init__(self, adapter: TestTimeAdapter, errors: CachedErrors) -> None:
        self.adapter, self._errors = adapter, errors
        self.group_size = adapter.images_at_once
        self.carries_over = adapter.mode != "episodic"

    @property
    def settings(self) -> dict[str, object]:
        names = ["mode", "objective", "gate", "optimizer", "learning_rate", "steps", "batch_norm", "online_rate"]
        # Without shared updates, outcomes do not depend on the size of a group.
        names += ["images_at_once"] if self.carries_over else []
        values = {name: _plain(getattr(self.adapter, name)) for name in names}
        return values | {"parameters": len(self.adapter.parameter_names)}

    def __call__(self, images: Sequence[Tensor], image_ids: Sequence[int]) -> list[Outcome]:
        timer = CpuTimer(self._errors)
        result = self.adapter(images, image_ids=image_ids)
        shares = isinstance(self.adapter.objective, SharedEvidence)
        seconds = timer.seconds(int(result.forward_passes.sum()) if shares else 0) / len(images)
        return [
            Outcome(
                prediction=int(result.predictions[i]),
                adapted=bool(result.adapted[i]),
                forward_passes=int(result.forward_passes[i]),
                backward_passes=int(result.backward_passes[i]),
                cpu_seconds=seconds,
            )
            for i in range(len(result))
        ]

    def state_dict(self) -> dict[str, Any]:
        return self.adapter.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.adapter.load_state_dict(state)


class DiffusionClassifierRunner:
    """Runs the diffusion model as the classifier, on the draws of the evidence, without the source."""

    group_size, carries_over = 16, False

    def __init__(self, inputs: MethodInputs) -> None:
        self._denoiser, self._errors = inputs.denoiser, inputs.errors

    @property
    def settings(self) -> dict[str, object]:
        return {"draws": len(self._errors.evaluator.steps)}

    def __call__(self, images: Sequence[Tensor], image_ids: Sequence[int]) -> list[Outcome]:
        timer = CpuTimer(self._errors)
        num_classes, num_draws = len(self._errors.evaluator.texts), len(self._errors.evaluator.steps)
        ids = np.asarray(image_ids, dtype=np.int64)
        all_classes = np.tile(np.arange(num_classes), (len(images), 1))
        errors = errors_of_classes(self._errors, encode(self._denoiser, images), ids, all_classes)
        evaluations = num_classes * num_draws
        seconds = timer.seconds(evaluations * len(images)) / len(images)
        return [Outcome(int(best), True, evaluations, 0, seconds) for best in errors.mean(2).argmin(1)]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class CpuTimer:
    """CPU time of one method, with shared errors at their mean cost, whichever method had them computed."""

    def __init__(self, errors: CachedErrors) -> None:
        self._errors, self._start, self._network = errors, time.process_time(), errors.cpu_seconds

    def seconds(self, evaluations: int) -> float:
        """Seconds since the start, with this many shared errors."""
        own = time.process_time() - self._start - (self._errors.cpu_seconds - self._network)
        return own + self._errors.seconds(evaluations)


def _plain(value: object) -> object:
    """A setting as JSON stores it, the same in every process: without the addresses of objects."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
