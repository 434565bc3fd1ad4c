"""Directions of InfoNCE, and the error where a batch has no pair to learn from."""

from __future__ import annotations

from typing import Literal, get_args

Direction = Literal["both", "image_to_text", "text_to_image"]
"""Softmax over the texts of an image, over the images of a text, or the mean of the two losses."""


def check_direction(direction: str) -> None:
    """Raise ValueError unless ``direction`` is one of the three."""
    if direction not in get_args(Direction):
        choices = ", ".join(map(repr, get_args(Direction)))
        raise ValueError(f"direction must be one of {choices}, got {direction!r}; 'both' is CLIP's")


def no_positives() -> ValueError:
    """The error for ids that make no image and text a pair."""
    return ValueError(
        "positives must make at least one image and one text a pair, got ids without a match; "
        "give an image and its texts equal ids"
    )
