"""Settings of one view of an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """Distribution of one view: crop, flip, color jitter, gray, blur, solarization, in this order.

    Hue, saturation and gray belong to three channels; images of other numbers of channels get brightness and contrast
    alone, where the contrast is about the mean of all channels.

    Raises:
        ValueError: If a value is out of range.
    """

    size: int
    """Height and width of the view in pixels."""
    crop_scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the image's area that a crop covers."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest ratio of a crop's width to its height."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    jitter: float = 0.8
    """Probability of color jitter, whose parts come in an order drawn for each view."""
    brightness: float = 0.4
    """Largest change of the brightness's factor from 1."""
    contrast: float = 0.4
    """Largest change of the contrast's factor from 1."""
    saturation: float = 0.4
    """Largest change of the saturation's factor from 1."""
    hue: float = 0.1
    """Largest turn of the hue, as a share of the color circle, at most a half."""
    gray: float = 0.2
    """Probability that the colors are replaced by their luminance."""
    blur: float = 0.5
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Smallest and largest standard deviation of the blur, in pixels of the view."""
    solarize: float = 0.0
    """Probability that pixels from the threshold up are inverted."""
    solarize_threshold: float = 0.5
    """Value from which on a pixel is inverted."""

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"size must be at least 2 pixels, got {self.size}")
        for name in ("flip", "jitter", "gray", "blur", "solarize", "solarize_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue must lie in 0..0.5, got {self.hue}")
        for name, largest in (("crop_scale", 1.0), ("crop_ratio", float("inf")), ("blur_sigma", float("inf"))):
            low, high = getattr(self, name)
            if not (0 < low <= high <= largest and high < float("inf")):
                upper = f" up to {largest:g}" if largest == 1 else ""
                raise ValueError(f"{name} must be two numbers above 0 in ascending order{upper}, got {(low, high)}")

    @property
    def blur_radius(self) -> int:
        """Pixels that the blur's kernel reaches to either side: four of its largest deviations, within the view.

        Beyond lies less than 1e-4 of the weight.
        """
        return min(int(-(-4 * self.blur_sigma[1] // 1)), self.size - 1)
