"""Train a generator whose only sign of realism is a frozen density, or, to compare, a critic or true pairs.

Dalal, Li and Taori, *Autoregressive Models: What Are They Good For?*, 2019, section 2, put a density in the place
of the adversarial loss of unpaired translation. Here the second term, which keeps the content, is the correlation
between a source and its translation; it is blind to brightness and contrast, which the first has to teach.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vl_core.training import Shuffled, TrainingSettings, fit, weights_digest

from vl_density.models.density import AutoregressiveDensity
from vl_density.translation.networks import Critic, Translator

Signal: TypeAlias = Literal["density", "critic", "pairs"]
"""Sign of realism: bits per dimension of a frozen density, a critic that is trained beside, or the true pair."""


def content_loss(sources: Tensor, translated: Tensor) -> Tensor:
    """One less the correlation between a source's values and its translation's, mean over images.

    Args:
        sources: ``(B, C, H, W)``.
        translated: The same shape.

    Returns:
        Scalar from 0 to 2; a constant image counts as not correlated.
    """
    one, other = (images.flatten(1) - images.flatten(1).mean(1, keepdim=True) for images in (sources, translated))
    return (1 - F.cosine_similarity(one, other, dim=1)).mean()


def train_translator(
    translator: Translator,
    sides: Any,
    settings: TrainingSettings,
    out: str | os.PathLike[str],
    *,
    signal: Signal,
    density: AutoregressiveDensity | None = None,
    signal_weight: float = 1.0,
    content_weight: float = 3.0,
    after_update: Callable[[int], None] | None = None,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> None:
    """Train a translator in place; rerun with the same arguments to resume.

    Args:
        translator: The generator.
        sides: Map-style, of sources, images of the target side, and true pairs, each ``(C, H, W)`` in [0, 1]; see
            `UnpairedSides`.
        settings: How to train; see `vl_core.training.TrainingSettings`.
        out: Folder of the run.
        signal: `"density"` minimizes bits per dimension of the translation, `"critic"` the squared distance of a
            critic's score from 1, `"pairs"` the absolute distance from the true pair.
        density: The density, for that signal alone; its weights are frozen and it is put into evaluation mode.
        signal_weight: Weight of the signal.
        content_weight: Weight of `content_loss`.
        after_update: Called with the number of each update, from 0.
        config: What else makes the run what it is, kept in its folder.
        progress: Show a progress bar.

    Raises:
        ValueError: If there is no such signal, the density is missing or not wanted, or the folder holds another run.

    Example:
        >>> settings = TrainingSettings(updates=150, batch_size=8, learning_rate=2e-3)
        >>> density = load_density("fashion-0")
        >>> train_translator(Translator(), UnpairedSides(images), settings, "runs/faded", signal="density",
        ...                  density=density)
    """
    if signal not in get_args(Signal):
        raise ValueError(f"signal must be one of {', '.join(get_args(Signal))}, got {signal!r}")
    if (density is None) == (signal == "density"):
        raise ValueError(f"density must be given for the signal 'density' and for no other, got {signal!r}")
    if not (0 <= signal_weight < math.inf and 0 <= content_weight < math.inf):
        raise ValueError(
            f"signal_weight and content_weight must not be negative, got {signal_weight} and {content_weight}"
        )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        players = _Players(translator, Critic(channels=translator.channels) if signal == "critic" else None)
    frozen = None if density is None else _frozen(density)

    def loss(model: nn.Module, batch: Any, number: int) -> dict[str, Tensor]:
        sources, targets, pairs = batch
        translated, told, own = model(sources, targets)
        if frozen is not None:
            realism = -frozen.to(translated.device).relaxed_log_prob(translated).mean()
            realism = realism / (frozen.dimensions * math.log(2))
        else:
            realism = (told - 1).square().mean() if signal == "critic" else (translated - pairs).abs().mean()
        content = content_loss(sources, translated)
        return {"loss": signal_weight * realism + content_weight * content + own, signal: realism, "content": content}

    fit(
        players,
        Shuffled(sides, settings.seed),
        loss,
        settings,
        out,
        after_update=None if after_update is None else lambda update, _: after_update(update),
        config={
            "signal": signal,
            "signal_weight": signal_weight,
            "content_weight": content_weight,
            "density": None if frozen is None else weights_digest(frozen),
            **(config or {}),
        },
        progress=progress,
        description=f"translate by {signal}",
    )


class _Players(nn.Module):
    """The generator, and the critic where there is one; both are trained in one backward pass."""

    def __init__(self, translator: Translator, critic: Critic | None):
        super().__init__()
        self.translator, self.critic = translator, critic

    def forward(self, sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Translation, what the critic says of it, and the critic's own loss."""
        translated: Tensor = self.translator(sources)
        nothing = translated.new_zeros(())
        if self.critic is None:
            return translated, nothing, nothing
        # The generator's loss must not move the critic, nor the critic's the generator.
        weights = {name: value.detach() for name, value in self.critic.named_parameters()}
        told: Tensor = torch.func.functional_call(self.critic, weights, (translated,))
        own = (self.critic(targets) - 1).square().mean() + self.critic(translated.detach()).square().mean()
        return translated, told, own


def _frozen(density: AutoregressiveDensity) -> AutoregressiveDensity:
    """The density in evaluation mode, without gradients of its weights."""
    return density.eval().requires_grad_(False)
