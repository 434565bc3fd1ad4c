"""Prompt templates of the data sets in the Diffusion Classifier paper, by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

PROMPT_TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # From the authors' prompt files, with articles uncorrected ("a photo of a airplane."). Their class names for
        # pets include the animal, such as "Abyssinian cat".
        "aircraft": ("a photo of a {}, a type of aircraft.",),
        "cifar10": ("a blurry photo of a {}.",),
        "cifar100": ("a blurry photo of a {}.",),
        "flowers": ("a photo of a {}, a type of flower.",),
        "food": ("a photo of {}, a type of food.",),
        "imagenet": ("a photo of a {}.",),
        "mnist": ("a photo of the number: '{}'.",),
        "objectnet": ("a photo of a {}.",),
        "pets": ("a photo of a {}, a type of pet.",),
        "stl10": ("a photo of a {}.",),
        # Our own. The number of evaluations grows with the number of templates.
        "clipart": ("clip art of a {}.",),
        "emoji": ("an emoji of {}.",),
        "name": ("{}",),
        "views": (
            "a photo of a {}.",
            "a {}, seen from close by.",
            "a {} in its surroundings.",
            "an image with one {} in the middle.",
        ),
    }
)
"""Templates by name, for ``DiffusionClassifier(prompt_template=...)``."""


def prompt_templates(name: str) -> tuple[str, ...]:
    """The templates of a data set of Li et al. (2023), or one of our own sets.

    Args:
        name: ``"imagenet"``, ``"pets"`` ...: a key of `PROMPT_TEMPLATES`.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> prompt_templates("food")
        ('a photo of {}, a type of food.',)
    """
    if name not in PROMPT_TEMPLATES:
        near = difflib.get_close_matches(str(name), PROMPT_TEMPLATES, 1)
        raise ValueError(
            f"name must be one of {', '.join(sorted(PROMPT_TEMPLATES))}, got {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "; pass your own template as prompt_template")
        )
    return PROMPT_TEMPLATES[name]
