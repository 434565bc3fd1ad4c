"""The candidates of a search: classes, or the individual prompts of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

Combination = Literal["mean", "logsumexp", "best"]
"""Combination of several prompts of a class.

- ``"mean"``: average of their errors on each draw; a draw of the class evaluates every prompt.
- ``"best"``: error of the best prompt. Prompts are searched individually, as in the authors' scripts.
- ``"logsumexp"``: equal mixture of the prompts, also searched individually.
"""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The A candidates of a search, with their texts and classes.

    Attributes:
        texts: The R names or prompts that the model encodes.
        rows: For each candidate, indices of the texts that are averaged.
        class_indices: int64 ``(A,)``, the class of each candidate; -1 for the name of an inner tree node.
    """

    texts: tuple[str, ...]
    rows: tuple[np.ndarray, ...]
    class_indices: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> np.ndarray:
        """Number of texts of each candidate, int64 ``(A,)``."""
        return np.array([len(rows) for rows in self.rows], np.int64)


def make_candidates(
    classes: Sequence[str],
    prompts: Mapping[str, Sequence[str]] | None,
    combination: Combination,
    inner_names: Sequence[str] = (),
    templates: Sequence[str] = ("{}",),
) -> Candidates:
    """Build the candidates for these classes.

    Args:
        classes: The class names.
        prompts: The prompts of each class; None for a model that takes class names.
        combination: Combination of several prompts of a class.
        inner_names: Names of inner tree nodes, placed after the classes.
        templates: Prompt templates for `inner_names`.
    """
    if prompts is None:
        texts = [[name] for name in (*classes, *inner_names)]
    else:
        texts = [list(prompts[name]) for name in classes]
        texts += [fill(templates, name) for name in inner_names]
    owner = np.array([*range(len(classes)), *[-1] * len(inner_names)], np.int64)
    flat = tuple(text for group in texts for text in group)
    sizes = np.array([len(group) for group in texts])
    first = np.concatenate([[0], np.cumsum(sizes)])
    if combination == "mean" or (sizes == 1).all():
        return Candidates(flat, tuple(np.arange(start, stop) for start, stop in pairwise(first)), owner)
    if inner_names:
        raise ValueError(
            f"prompt_combination must be 'mean' for a search with {len(inner_names)} inner names, got {combination!r}"
        )
    return Candidates(flat, tuple(np.array([row]) for row in range(len(flat))), np.repeat(owner, sizes))


def make_prompts(
    classes: Sequence[str], templates: Sequence[str], prompts: Mapping[str, Sequence[str] | str] | None
) -> dict[str, list[str]]:
    """The prompts of each class: those passed, and filled-in templates for the other classes.

    Raises:
        ValueError: If a key of `prompts` is not a class, or a class has no prompt or one that is not a string.
    """
    given = dict(prompts or {})
    if unknown := [name for name in given if name not in classes]:
        raise ValueError(f"prompts must have classes as keys, got {unknown[0]!r}; add it to classes or remove it")
    found = {}
    for name in classes:
        own = given.get(name, fill(templates, name))
        found[name] = [own] if isinstance(own, str) else list(own)
        if not found[name]:
            raise ValueError(f"prompts of class {name!r} must have at least one entry, got none")
        if invalid := [prompt for prompt in found[name] if not isinstance(prompt, str)]:
            raise ValueError(f"prompts of class {name!r} must be strings, got {invalid[0]!r}")
    return found


def fill(templates: Sequence[str], name: str) -> list[str]:
    """Fill the name into the ``{}`` of each template."""
    return [template.replace("{}", name) for template in templates]


def checked_templates(prompt_template: str | Sequence[str]) -> tuple[str, ...]:
    """Convert one or several templates to a tuple.

    Raises:
        ValueError: If there is none, or one has no ``{}``.
    """
    if not isinstance(prompt_template, str | Sequence):
        raise ValueError(f"prompt_template must be a string or a sequence of strings, got {prompt_template!r}")
    templates = (prompt_template,) if isinstance(prompt_template, str) else tuple(prompt_template)
    if not templates:
        raise ValueError("prompt_template must have at least one template, got none")
    for template in templates:
        if not isinstance(template, str) or "{}" not in template:
            raise ValueError(f"prompt_template must contain {{}} for the class name, got {template!r}")
    return templates


def check_combination(combination: str) -> None:
    """Raise ValueError unless `combination` is a known name."""
    if combination not in get_args(Combination):
        raise ValueError(f"prompt_combination must be one of {', '.join(get_args(Combination))}, got {combination!r}")
