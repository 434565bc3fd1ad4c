"""What a search compares: classes, or the single prompts of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

Combination = Literal["mean", "logsumexp", "best"]
"""What several prompts of a class say together.

- ``"mean"``: the average of their errors on each draw; an evaluation of the class is one of each prompt.
- ``"best"``: the class is as good as its best prompt. Each prompt is searched for itself, as the authors' scripts do.
- ``"logsumexp"``: the class is a mixture of its prompts, equally likely; searched in the same way.
"""


@dataclass(frozen=True, eq=False)
class Candidates:
    """What is evaluated, and which class it belongs to.

    Attributes:
        texts: What the model encodes, ``R`` names or prompts.
        rows: For each of the ``A`` arms, which of the texts are averaged.
        class_indices: int64 ``(A,)``, the class of each arm; -1 for a name that is only searched through.
    """

    texts: tuple[str, ...]
    rows: tuple[np.ndarray, ...]
    class_indices: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> np.ndarray:
        """How many texts each arm averages, int64 ``(A,)``."""
        return np.array([len(rows) for rows in self.rows], np.int64)


def make_candidates(
    classes: Sequence[str],
    prompts: Mapping[str, Sequence[str]] | None,
    combination: Combination,
    inner_names: Sequence[str] = (),
    templates: Sequence[str] = ("{}",),
) -> Candidates:
    """Candidates of these classes.

    Args:
        classes: The class names.
        prompts: The prompts of each class; None where a model takes names.
        combination: What several prompts say together.
        inner_names: Names that a search descends through, behind the classes.
        templates: What the prompts of those are made with.
    """
    if prompts is None:
        texts = [[name] for name in (*classes, *inner_names)]
    else:
        texts = [list(prompts[name]) for name in classes]
        texts += [fill(templates, name) for name in inner_names]
    owner = np.array([*range(len(classes)), *[-1] * len(inner_names)], np.int64)
    flat = tuple(text for of_class in texts for text in of_class)
    sizes = np.array([len(of_class) for of_class in texts])
    first = np.concatenate([[0], np.cumsum(sizes)])
    if combination == "mean" or (sizes == 1).all():
        return Candidates(flat, tuple(np.arange(start, stop) for start, stop in pairwise(first)), owner)
    if inner_names:
        raise ValueError(f"a search through {len(inner_names)} inner names needs prompt_combination='mean'")
    return Candidates(flat, tuple(np.array([row]) for row in range(len(flat))), np.repeat(owner, sizes))


def make_prompts(
    classes: Sequence[str], templates: Sequence[str], prompts: Mapping[str, Sequence[str] | str] | None
) -> dict[str, list[str]]:
    """The prompts of each class: those given, and the filled-in templates for the others.

    Raises:
        ValueError: If prompts are given for something that is no class, or a class has none or what is no string.
    """
    given = dict(prompts or {})
    if strangers := [name for name in given if name not in classes]:
        raise ValueError(f"prompts are given for {strangers[0]!r}, which is none of the classes")
    found = {}
    for name in classes:
        own = given.get(name, fill(templates, name))
        found[name] = [own] if isinstance(own, str) else list(own)
        if not found[name]:
            raise ValueError(f"prompts of class {name!r} must hold at least one, got none")
        if strange := [prompt for prompt in found[name] if not isinstance(prompt, str)]:
            raise ValueError(f"prompts of class {name!r} must be strings, got {strange[0]!r}")
    return found


def fill(templates: Sequence[str], name: str) -> list[str]:
    """The templates with the name where they have ``{}``."""
    return [template.replace("{}", name) for template in templates]


def checked_templates(prompt_template: str | Sequence[str]) -> tuple[str, ...]:
    """One template or several as a row.

    Raises:
        ValueError: If there is none, or one has no place for the class name.
    """
    if not isinstance(prompt_template, str | Sequence):
        raise ValueError(f"prompt_template must be a string or several, got {prompt_template!r}")
    templates = (prompt_template,) if isinstance(prompt_template, str) else tuple(prompt_template)
    if not templates:
        raise ValueError("prompt_template must hold at least one template, got none")
    for template in templates:
        if not isinstance(template, str) or "{}" not in template:
            raise ValueError(f"prompt_template must hold {{}} where the class name goes, got {template!r}")
    return templates


def check_combination(combination: str) -> None:
    """Raise ValueError unless `combination` is a known name."""
    if combination not in get_args(Combination):
        raise ValueError(f"prompt_combination must be one of {', '.join(get_args(Combination))}, got {combination!r}")
