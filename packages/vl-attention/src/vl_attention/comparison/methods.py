"""The methods compared: ways to use a teacher for a task with few labels, by name; `building` makes their models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vl_attention.attention.pairing import Layers
from vl_attention.training import recipes
from vl_attention.training.settings import TrainSettings

if TYPE_CHECKING:
    from torch import nn

    from vl_attention.models.normalization import Normalization

ENSEMBLE = "ensemble"
"""The fine-tuned teacher and the distilled student together; it needs no training."""
ENSEMBLE_MEMBERS = ("fine-tune", "distill")


@dataclass(frozen=True)
class Method:
    """One method and its training settings."""

    name: str
    """``"scratch"``, ``"fine-tune"``, or a mode of `AttentionTransfer`."""
    settings: TrainSettings
    layers: Layers | None = None
    """Layers to transfer, see `pair_layers`."""
    drop_path: float = 0.0
    """Rate of stochastic depth."""

    def build(self, teacher: nn.Module, num_classes: int, seed: int, normalization: Normalization | None = None) -> Any:
        """Build the model to train: with the teacher's weights for fine-tuning, with random weights otherwise."""
        from vl_attention.comparison.building import build_method

        return build_method(self, teacher, num_classes, seed, normalization)


RECIPES: Mapping[str, Mapping[str, Method]] = {
    "small_images": {
        "scratch": Method("scratch", recipes.small_images_scratch()),
        "copy": Method("copy", recipes.small_images_copy()),
        "distill": Method("distill", recipes.small_images_distill(), layers="all"),
        "fine-tune": Method("fine-tune", recipes.small_images_fine_tune()),
        # No rate was searched for these, and they may not tolerate the learning rate of distillation.
        **{
            name: Method(name, recipes.small_images_copy())
            for name in ("distill_q", "distill_k", "distill_v", "output", "relations")
        },
    },
    "vit_base": {
        "scratch": Method("scratch", recipes.vit_base_scratch(), drop_path=0.1),
        "copy": Method("copy", recipes.vit_base_copy()),
        "distill": Method("distill", recipes.vit_base_distill(), drop_path=0.1),
        "fine-tune": Method("fine-tune", recipes.vit_base_fine_tune(), drop_path=0.1),
    },
    "vit_large": {
        "scratch": Method("scratch", recipes.vit_large_scratch(), drop_path=0.2),
        "copy": Method("copy", recipes.vit_large_copy()),
        "distill": Method("distill", recipes.vit_large_distill(), layers="first:18", drop_path=0.2),
        "fine-tune": Method("fine-tune", recipes.vit_large_fine_tune(), drop_path=0.2),
    },
}
"""Methods by recipe and name."""

# Modes without settings of their own use those of another mode.
_LIKE = {
    **dict.fromkeys(("copy_q", "copy_k", "copy_v"), "copy"),
    **dict.fromkeys(("distill_q", "distill_k", "distill_v", "output", "relations"), "distill"),
}
METHODS = ("scratch", "copy", "distill", "fine-tune", *_LIKE)
"""Names of all methods."""


def method_of(recipe: str, name: str, *, layers: Layers | None = None, **changes: Any) -> Method:
    """Look up a recipe's method and override some of its settings.

    Args:
        recipe: A name in `RECIPES`.
        name: A name in `METHODS`.
        layers: Layers to transfer; default: the recipe's, or the default of the mode.
        changes: Fields of `TrainSettings` to override.

    Raises:
        ValueError: If a name is unknown or a setting out of range.
    """
    if recipe not in RECIPES or name not in METHODS:
        raise ValueError(
            f"recipe must be one of {', '.join(RECIPES)} and method one of {', '.join(METHODS)}; got {recipe!r} and "
            f"{name!r}"
        )
    known = RECIPES[recipe]
    found = known[name] if name in known else replace(known[_LIKE[name]], name=name, layers=None)
    if layers is not None and name not in ("scratch", "fine-tune"):
        found = replace(found, layers=layers)
    return replace(found, settings=replace(found.settings, **changes))
