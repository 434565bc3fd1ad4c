"""Methods at work: what a stream asks of one, an adapter as that, and the diffusion model itself as a classifier."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation_study.record import Outcome
from vl_diffusion.adaptation_study.sources import Source
from vl_diffusion.classifier import DiffusionClassifier
from vl_diffusion.denoiser import Denoiser


@dataclass(frozen=True, eq=False)
class Setup:
    """What every method is given."""

    source: Source
    """The classifier."""

    denoiser: Denoiser
    """The diffusion model."""

    seed: int
    """Of the method's noise."""

    batch_size: int = 64
    """Rows in one call of the denoising network."""

    autocast: torch.dtype | None = None
    """Precision of the denoising network under autocast."""

    prompt_template: str = "a photo of a {}."
    """For text-conditional denoisers."""

    def adapter(self, **settings: Any) -> TestTimeAdapter:
        """An adapter with these settings, and its own defaults for the others."""
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


class Worker(Protocol):
    """A method at work on a stream of pictures."""

    @property
    def together(self) -> int:
        """Pictures that are looked at together."""
        ...

    @property
    def goes_on(self) -> bool:
        """Whether what was learned goes on to the next group of pictures, so that their order counts."""
        ...

    @property
    def settings(self) -> dict[str, object]:
        """What its outcomes depend on, as JSON keeps it."""
        ...

    def __call__(self, pictures: Sequence[Tensor], image_ids: Sequence[int]) -> list[Outcome]:
        """What it makes of a group of pictures ``(C, H, W)`` in [0, 1]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What was learned; empty if nothing was."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; from an empty state, begin anew."""
        ...


class Adapting:
    """A :class:`~vl_diffusion.TestTimeAdapter` at work."""

    def __init__(self, adapter: TestTimeAdapter) -> None:
        self.adapter = adapter
        self.together = adapter.images_at_once
        self.goes_on = adapter.mode != "episodic"

    @property
    def settings(self) -> dict[str, object]:
        names = ["mode", "objective", "gate", "optimiser", "learning_rate", "steps", "batch_norm"]
        # What shares no update is the same in a group of any size.
        names += ["images_at_once"] if self.goes_on else []
        return {name: _plain(getattr(self.adapter, name)) for name in names} | {"moving": len(self.adapter.moving)}

    def __call__(self, pictures: Sequence[Tensor], image_ids: Sequence[int]) -> list[Outcome]:
        start = time.process_time()
        result = self.adapter(pictures, image_ids=image_ids)
        seconds = (time.process_time() - start) / len(pictures)
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


class Classifying:
    """The diffusion model itself as the classifier: nothing is adapted, and the source is not asked."""

    together, goes_on = 16, False

    def __init__(self, setup: Setup) -> None:
        self._autocast = setup.autocast
        self.classifier = DiffusionClassifier(
            setup.denoiser,
            setup.source.classes,
            seed=setup.seed,
            batch_size=setup.batch_size,
            prompt_template=setup.prompt_template,
        )

    @property
    def settings(self) -> dict[str, object]:
        return {"search": _plain(self.classifier.search)}

    def __call__(self, pictures: Sequence[Tensor], image_ids: Sequence[int]) -> list[Outcome]:
        device = torch.device(self.classifier.denoiser.device).type
        start = time.process_time()
        with nullcontext() if self._autocast is None else torch.autocast(device, self._autocast):
            result = self.classifier.classify(pictures, image_ids=image_ids)
        seconds = (time.process_time() - start) / len(pictures)
        return [
            Outcome(int(prediction), True, int(evaluations), 0, seconds)
            for prediction, evaluations in zip(result.predictions, result.total_evaluations, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def _plain(value: object) -> object:
    """As JSON keeps it, and the same in every process: an object's address is none of its settings."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
