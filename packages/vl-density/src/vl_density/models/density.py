"""Autoregressive densities of images: exact log-probabilities, samples and completions.

Pixels are in raster order, and the channels of a pixel in theirs. A network turns an image into features of every pixel
that depend on the pixels before it alone; a head turns the features of a pixel into the distribution of its channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from vl_core.data import image_batch
from vl_core.progress import progress_bar

from vl_density.heads import Head, make_head
from vl_density.models.cursors import Cursor, RecomputingCursor
from vl_density.quantization import bits_per_dim, from_levels, to_levels


class AutoregressiveDensity(nn.Module, PyTorchModelHubMixin, ABC):
    """Density of images of one size.

    Args:
        image_size: Height and width.
        channels: Channels of an image.
        levels: Gray values of a channel, 2 to 256.
        head: Distribution of a pixel: `"categorical"`, `"logistic-mixture"` or `"bernoulli"`.
        head_options: Arguments of the head, such as `components`.
        num_classes: Number of classes to condition on; 0 for none.
    """

    def __init__(
        self,
        *,
        image_size: tuple[int, int],
        channels: int,
        levels: int,
        head: str,
        head_options: dict[str, Any] | None,
        num_classes: int,
    ):
        super().__init__()
        height, width = image_size
        for name, value in {"height": height, "width": width, "channels": channels}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 2 <= levels <= 256:
            raise ValueError(f"levels must lie between 2 and 256, got {levels}")
        if num_classes < 0:
            raise ValueError(f"num_classes must not be negative, got {num_classes}; 0 is for no condition")
        self.image_size = (int(height), int(width))
        self.channels, self.levels, self.num_classes = channels, levels, num_classes
        self.head: Head = make_head(head, channels, levels, **(head_options or {}))

    @property
    def dimensions(self) -> int:
        """Number of values of an image: channels times height times width."""
        return self.channels * self.image_size[0] * self.image_size[1]

    @classmethod
    def _load_as_safetensor(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        """Load weights, of which all must be there and no others: the hub mixin would leave random ones."""
        return super()._load_as_safetensor(model, model_file, map_location, True)

    # ---- What a network has to give ----

    @abstractmethod
    def features(self, pixels: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features of every pixel, which depend on the pixels before it alone.

        Args:
            pixels: Integer levels ``(B, C, H, W)``.
            condition: Classes ``(B,)``, or None.

        Returns:
            ``(B, H, W, n_features)`` for the head.
        """

    def cursor(self, count: int, condition: Tensor | None = None) -> Cursor:
        """Reader that goes through `count` images pixel by pixel, and keeps what later pixels need."""
        return RecomputingCursor(self.features, (count, self.channels, *self.image_size), condition, self.device)

    # ---- Likelihood ----

    def log_prob(self, images: Any, condition: Any = None) -> Tensor:
        """Exact log-probability of images.

        Args:
            images: Images of the model's size as `vl_core.data.image_batch` takes them, such as ``(B, C, H, W)`` in
                [0, 1], on the grid k / (levels - 1); see `quantize`.
            condition: Class of each image, for a model with classes.

        Returns:
            Nats ``(B,)``.

        Raises:
            ValueError: If the images have another size, lie off the grid or outside [0, 1], or a condition is missing,
                unknown or not wanted.

        Example:
            >>> model = PixelCNN(image_size=(28, 28), channels=1)
            >>> model.log_prob(torch.rand(2, 1, 28, 28).mul(255).round() / 255).shape
            torch.Size([2])
        """
        found = self.log_prob_map(images, condition).flatten(1)
        return found.sum(1, dtype=torch.promote_types(found.dtype, torch.float32))

    def forward(self, images: Any, condition: Any = None) -> Tensor:
        """Log-probability of images, as `log_prob`."""
        return self.log_prob(images, condition)

    def log_prob_map(self, images: Any, condition: Any = None) -> Tensor:
        """Log-probability of each value given those before it, nats ``(B, C, H, W)``; arguments as for `log_prob`."""
        pixels = self.pixels(images)
        features = self.features(pixels, self.checked_condition(condition, len(pixels)))
        return self.head.log_prob(features, pixels.movedim(1, -1)).movedim(-1, 1)

    def bits_per_dim(self, images: Any, condition: Any = None) -> Tensor:
        """Negative log-likelihood in bits for each value, ``(B,)``; arguments as for `log_prob`."""
        return bits_per_dim(self.log_prob(images, condition), self.dimensions)

    def relaxed_log_prob(self, images: Tensor, condition: Any = None) -> Tensor:
        """Log-probability of images whose values may lie between levels, for gradients in the image.

        A value's log-probability is linear between those of the levels beside it (for a logistic mixture, in each
        component), and later values see it as it is. On levels it is `log_prob`; between them it belongs to no
        distribution.

        Args:
            images: ``(B, C, H, W)`` in [0, 1], floating point, of any value; differentiable.
            condition: Class of each image, for a model with classes.

        Returns:
            Nats ``(B,)``.

        Raises:
            ValueError: If the images have another size or lie outside [0, 1], or as in `log_prob`.

        Example:
            >>> model = PixelCNN(image_size=(28, 28), channels=1)
            >>> images = torch.rand(2, 1, 28, 28, requires_grad=True)
            >>> model.relaxed_log_prob(images).sum().backward()
        """
        wanted = (self.channels, *self.image_size)
        if not isinstance(images, Tensor) or not images.is_floating_point() or tuple(images.shape[1:]) != wanted:
            got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(
                f"images must be a floating-point tensor (B, {', '.join(map(str, wanted))}) as the model, got {got}"
            )
        if not bool(((images >= 0) & (images <= 1)).all()):  # NaN fails, too
            raise ValueError("images must lie in [0, 1] and be finite; end a generator with a sigmoid")
        values = images.to(self.device) * (self.levels - 1)
        features = self.features(values, self.checked_condition(condition, len(values)))
        return self.head.relaxed_log_prob(features, values.movedim(1, -1)).flatten(1).sum(1)

    # ---- Samples ----

    @torch.no_grad()
    def sample(
        self,
        count: int,
        condition: Any = None,
        *,
        generator: torch.Generator | None = None,
        progress: bool = True,
        cached: bool = True,
    ) -> Tensor:
        """Draw images.

        Args:
            count: Number of images.
            condition: Class of each image, or one for all.
            generator: Source of the random numbers; one on the CPU gives the same images on every device.
            progress: Show a progress bar.
            cached: False to compute the whole network for every pixel; the images are the same.

        Returns:
            ``(count, C, H, W)`` in [0, 1], float32.

        Raises:
            ValueError: If `count` is not positive, or a condition is missing, unknown or not wanted.

        Example:
            >>> model.sample(16, generator=torch.Generator().manual_seed(0)).shape
            torch.Size([16, 1, 28, 28])
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        empty = torch.zeros(count, self.channels, *self.image_size, dtype=torch.long, device=self.device)
        return self._fill(empty, torch.zeros_like(empty, dtype=torch.bool), condition, generator, progress, cached)

    @torch.no_grad()
    def inpaint(
        self,
        images: Any,
        known: Any,
        condition: Any = None,
        *,
        generator: torch.Generator | None = None,
        progress: bool = True,
        cached: bool = True,
    ) -> Tensor:
        """Draw the unknown pixels of images, each given the pixels before it; known ones stay as they are.

        What comes after a pixel in raster order does not inform it, as it would in the conditional distribution given
        all known pixels.

        Args:
            images: As for `log_prob`; what is unknown may hold any level.
            known: True at pixels to keep, ``(H, W)``, ``(B, H, W)``, ``(B, 1, H, W)`` or what broadcasts to it.
            condition: Class of each image, or one for all.
            generator: Source of the random numbers.
            progress: Show a progress bar.
            cached: False to compute the whole network for every pixel.

        Returns:
            ``(B, C, H, W)`` in [0, 1], float32.

        Raises:
            ValueError: If `known` is not boolean or has another shape, or as in `log_prob`.
        """
        pixels = self.pixels(images)
        known = torch.as_tensor(known)
        if known.dtype != torch.bool:
            raise ValueError(f"known must be boolean, got {known.dtype}; True at pixels to keep")
        height, width = self.image_size
        if known.ndim == 3 and len(known) == len(pixels):
            known = known[:, None]
        try:
            mask = known.to(pixels.device).broadcast_to(len(pixels), 1, height, width)
        except RuntimeError:
            raise ValueError(
                f"known must broadcast to ({len(pixels)}, 1, {height}, {width}), got {tuple(known.shape)}"
            ) from None
        return self._fill(pixels, mask.expand_as(pixels), condition, generator, progress, cached)

    def _fill(
        self,
        pixels: Tensor,
        known: Tensor,
        condition: Any,
        generator: torch.Generator | None,
        progress: bool,
        cached: bool,
    ) -> Tensor:
        """Draw what is not known, in raster order."""
        training = self.training
        self.eval()
        try:
            count, (height, width) = len(pixels), self.image_size
            classes = self.checked_condition(condition, count)
            dtype = next(self.parameters()).dtype
            source = generator.device if generator is not None else self.device
            places = (count, height * width, self.head.n_uniforms)
            uniforms = torch.rand(places, generator=generator, device=source, dtype=dtype).to(self.device)
            shape = (count, self.channels, height, width)
            cursor = (
                self.cursor(count, classes) if cached else RecomputingCursor(self.features, shape, classes, self.device)
            )
            result = pixels.clone()
            for place in progress_bar(range(height * width), desc="pixels", unit="pixel", disable=not progress):
                row, column = divmod(place, width)
                drawn = self.head.draw(cursor.features(), uniforms[:, place])
                keep = known[:, :, row, column]
                result[:, :, row, column] = torch.where(keep, result[:, :, row, column], drawn)
                cursor.push(result[:, :, row, column])
        finally:
            self.train(training)
        return from_levels(result, self.levels)

    # ---- Checks at the public door ----

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    def pixels(self, images: Any) -> Tensor:
        """Integer levels ``(B, C, H, W)`` of images, on the model's device.

        Raises:
            ValueError: If they have another size or lie off the grid.
        """
        batch = image_batch(images)
        wanted = (self.channels, *self.image_size)
        if tuple(batch.shape[1:]) != wanted:
            raise ValueError(
                f"images must have shape (B, {', '.join(map(str, wanted))}) as the model, got {tuple(batch.shape)}; "
                "resize them or convert their channels"
            )
        return to_levels(batch.to(self.device), self.levels)

    def checked_condition(self, condition: Any, count: int) -> Tensor | None:
        """Classes ``(count,)`` on the model's device, or None for a model without.

        Raises:
            ValueError: If the condition does not fit the model.
        """
        if not self.num_classes:
            if condition is not None:
                raise ValueError("condition must be None: the model was made without classes (num_classes=0)")
            return None
        if condition is None:
            raise ValueError(f"condition must give the class of each image, 0 to {self.num_classes - 1}, got None")
        classes = torch.as_tensor(condition, device=self.device)
        if classes.is_floating_point() or classes.ndim > 1 or (classes.ndim == 1 and len(classes) not in (1, count)):
            raise ValueError(
                f"condition must be one integer or {count}, got {classes.dtype} of shape {tuple(classes.shape)}"
            )
        if classes.numel() and not bool(((classes >= 0) & (classes < self.num_classes)).all()):
            raise ValueError(
                f"condition must lie between 0 and {self.num_classes - 1}, got {classes.flatten().tolist()[:5]}"
            )
        return classes.long().broadcast_to(count)
