"""Parts of all policies with Fourier features: settings, and the group of the frequencies in each optimizer."""

from __future__ import annotations

from typing import Any

from vl_rl.common.learning_rates import split_group
from vl_rl.fourier.networks import frequencies

NETWORKS = ("actor", "critic")


class FourierPolicy:
    """Mixin of all policies: the group of the frequencies in each optimizer, and the settings that `save` keeps."""

    fourier_settings: dict[str, Any]
    fourier_weight_decay: float | None

    def _set_weight_decay(self, decay: float | None) -> None:
        if decay is not None and not 0 <= decay < float("inf"):
            raise ValueError(f"fourier_weight_decay must be at least 0, got {decay}")
        self.fourier_weight_decay = decay

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]
        settings: dict[str, Any] = {"role": "fourier"}
        if self.fourier_weight_decay is not None:
            settings["weight_decay"] = self.fourier_weight_decay
        for owner in (self, getattr(self, "actor", None), getattr(self, "critic", None)):
            optimizer = getattr(owner, "optimizer", None)
            if optimizer is not None:
                split_group(optimizer, frequencies(self), **settings)  # type: ignore[arg-type]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"fourier_weight_decay": self.fourier_weight_decay, **self._own_parameters()}
        if hasattr(self, "share_features_extractor"):
            own["share_features_extractor"] = self.share_features_extractor
        return {**super()._get_constructor_parameters(), **own}  # type: ignore[misc]

    def _own_parameters(self) -> dict[str, Any]:
        return self.fourier_settings
