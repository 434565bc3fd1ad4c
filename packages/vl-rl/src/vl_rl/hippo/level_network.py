"""The network of one level: its part of the observation, the time left and perhaps a latent, then hidden layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.nn import functional

from .observation_parts import Observation, ObservationPart

Integration: TypeAlias = Literal["bilinear", "concat"]


class LevelNetwork(nn.Module):
    """Map observation, steps left and latent to the output of a level.

    With features `x` of the observation and of the time left, and a one-hot latent `z`, the hidden layers see `x` alone
    (no latents), `[x, z]` (`"concat"`) or `[x, z, x ⊗ z]` (`"bilinear"`, appendix of the paper), where each latent has
    weights of its own for every feature.

    Args:
        part: The part of the observation that the level sees.
        extractor: Features of that part.
        make_head: Makes the last layer, given its input's width.
        num_latents: Number of latents that the input distinguishes; 0 if it takes none.
        integration: How the latent joins the features.
        hidden: Widths of the hidden layers.
        activation: Nonlinearity after each.
        max_commitment: Steps that count as 1 in the input; saved with the weights.
        normalize_images: Divide images by 255.
        gain: Gain of the orthogonal initialization of the head (√2 for the rest); None keeps PyTorch's own.
    """

    max_commitment: Tensor

    def __init__(
        self,
        part: ObservationPart,
        extractor: BaseFeaturesExtractor,
        make_head: Callable[[int], nn.Module],
        *,
        num_latents: int,
        integration: Integration,
        hidden: Sequence[int],
        activation: type[nn.Module],
        max_commitment: int,
        normalize_images: bool,
        gain: float | None,
    ) -> None:
        super().__init__()
        self.part = part
        self.extractor = extractor
        self.num_latents = num_latents
        self.integration = integration
        self.normalize_images = normalize_images
        self.register_buffer("max_commitment", torch.tensor(float(max_commitment)))
        width = extractor.features_dim + 1
        if num_latents:
            width = width * (1 + num_latents if integration == "bilinear" else 1) + num_latents
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), activation()]
            width = size
        self.hidden = nn.Sequential(*layers)
        self.head = make_head(width)
        if gain is not None:
            for module, its_gain in ((self.extractor, 2**0.5), (self.hidden, 2**0.5), (self.head, gain)):
                for layer in module.modules():
                    BasePolicy.init_weights(layer, gain=its_gain)

    def forward(self, observation: Observation, steps_left: Tensor, latents: Tensor | None = None) -> Tensor:
        """Give the output of the head.

        Args:
            observation: A batch of whole observations.
            steps_left: `(B,)` steps left of the commitment, this one included.
            latents: `(B,)` int64; not read by a network without latents.
        """
        seen = preprocess_obs(self.part.select(observation), self.part.space, normalize_images=self.normalize_images)
        time_left = (steps_left / self.max_commitment)[:, None]
        inputs = torch.cat([self.extractor(seen), time_left], dim=1)
        if self.num_latents:
            assert latents is not None
            one_hot = functional.one_hot(latents, self.num_latents).to(inputs.dtype)
            parts = [inputs, one_hot]
            if self.integration == "bilinear":
                parts.append((inputs[:, :, None] * one_hot[:, None, :]).flatten(1))
            inputs = torch.cat(parts, dim=1)
        output: Tensor = self.head(self.hidden(inputs))
        return output


class SkillNetwork(LevelNetwork):
    """The skills: parameters of the action distribution, and a standard deviation that no observation changes."""

    log_std: nn.Parameter | None
    """`(action_dim,)` for continuous actions, else None."""
