"""The encoder of images whose first layer are Fourier features of each pixel's channels."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from vl_rl.fourier.features import FourierFeatures, Sigma


class FourierCnnExtractor(BaseFeaturesExtractor):
    """Fourier features of the channels at each pixel, and the convolutions of Mnih et al. (Nature, 2015) behind them.

    The image form of Li and Pathak (NeurIPS 2021): B is a 1x1 convolution with 2π, and channels are
    ``[image, sin, cos]``. The published encoder behind it is another one, of 3x3 convolutions.

    Args:
        observation_space: Images ``(C, H, W)``.
        features_dim: Number of features.
        fourier_dim: Number of Fourier features of a pixel; even.
        sigma: Standard deviation of the frequencies, in cycles over the range of a channel, since images are divided
            by 255.
        trainable: If False, B stays as it was drawn.
        concatenate: Keep the image beside its Fourier features.
        normalized_image: The images are in [0, 1] already.

    Raises:
        ValueError: If the observations are no images, or a setting is out of range.
    """

    def __init__(
        self,
        observation_space: spaces.Space[object],
        features_dim: int = 512,
        *,
        fourier_dim: int = 128,
        sigma: Sigma = 0.1,
        trainable: bool = True,
        concatenate: bool = True,
        normalized_image: bool = False,
    ) -> None:
        if not isinstance(observation_space, spaces.Box) or not is_image_space(
            observation_space, check_channels=False, normalized_image=normalized_image
        ):
            raise ValueError(
                f"observation_space must be images of type uint8 in [0, 255], got {_kind(observation_space)}"
            )
        super().__init__(observation_space, features_dim)
        channels = observation_space.shape[0]
        self.fourier = FourierFeatures(
            channels, fourier_dim, sigma=sigma, trainable=trainable, concatenate=concatenate, dim=1
        )
        self.cnn = nn.Sequential(
            nn.Conv2d(self.fourier.out_features, 32, kernel_size=8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, kernel_size=3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            count = self.cnn(torch.zeros(1, self.fourier.out_features, *observation_space.shape[1:])).shape[1]
        self.linear = nn.Sequential(nn.Linear(count, features_dim), nn.ReLU())

    def forward(self, observations: Tensor) -> Tensor:
        """Features ``(B, features_dim)`` of images ``(B, C, H, W)`` in [0, 1]."""
        features: Tensor = self.linear(self.cnn(self.fourier(observations)))
        return features


def _kind(space: spaces.Space[object]) -> str:
    """Say what a space is that holds no images of bytes, and what to do with it."""
    if isinstance(space, spaces.Dict):
        return f"a Dict of {', '.join(space)}; use FourierMultiInputPolicy"
    found = f"{type(space).__name__} of shape {space.shape} and type {space.dtype}"
    if len(space.shape or ()) == 3:
        return f"{found}; pass normalize_images=False for images that are not to be divided by 255"
    return f"{found}; use FourierMlpPolicy for vectors"
