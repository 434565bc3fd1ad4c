"""The part of an observation that one level sees: some keys of a dictionary, or a slice of a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from gymnasium import spaces
from torch import Tensor

Observation: TypeAlias = Tensor | dict[str, Tensor]
SliceLike: TypeAlias = slice | Sequence[int]


class ObservationPart(NamedTuple):
    """A part of an observation, and its space."""

    space: spaces.Space[object]
    keys: tuple[str, ...] | None = None
    """The keys of a dictionary; all of it, or no dictionary, if None."""
    entries: slice | None = None
    """The entries of a vector; all of it if None."""

    def select(self, observation: Observation) -> Observation:
        """Take the part out of a batch of observations."""
        if isinstance(observation, dict):
            return observation if self.keys is None else {key: observation[key] for key in self.keys}
        return observation if self.entries is None else observation[:, self.entries]


def observation_part(
    space: spaces.Space[object], *, level: str, keys: Sequence[str] | None = None, entries: SliceLike | None = None
) -> ObservationPart:
    """Choose the part of observations that a level sees.

    Args:
        space: The environment's observation space.
        level: `"manager"` or `"skill"`; errors name `<level>_keys` or `<level>_slice`.
        keys: Keys of a dictionary space, or None for all of them.
        entries: A slice of a vector space, or its start and stop, or None for all of it.

    Raises:
        ValueError: If keys are given for a vector, a slice for anything else, a key does not exist, or nothing is left.
    """
    if keys is not None:
        return _keys(space, f"{level}_keys", keys)
    if entries is not None:
        return _entries(space, f"{level}_slice", entries)
    return ObservationPart(space)


def _keys(space: spaces.Space[object], name: str, keys: Sequence[str]) -> ObservationPart:
    if not isinstance(space, spaces.Dict):
        raise ValueError(f"{name} needs a Dict observation space, got {space}; use {name.replace('keys', 'slice')}")
    known = list(space.spaces)
    wrong = [key for key in keys if key not in known]
    if isinstance(keys, str) or wrong or not keys:
        raise ValueError(f"{name} must be a list with some of the keys {known}, got {keys!r}")
    chosen = tuple(key for key in known if key in keys)
    return ObservationPart(spaces.Dict({key: space[key] for key in chosen}), keys=chosen)


def _entries(space: spaces.Space[object], name: str, entries: SliceLike) -> ObservationPart:
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ValueError(
            f"{name} needs a Box observation space with one dimension, got {space}; "
            f"use {name.replace('slice', 'keys')} for a Dict, or flatten the observation"
        )
    if not isinstance(entries, slice):
        ends = tuple(entries) if isinstance(entries, Sequence) else (entries,)
        whole = all(isinstance(end, int) for end in ends)
        if not whole or len(ends) != 2 or not 0 <= ends[0] < ends[1] <= space.shape[0]:
            raise ValueError(
                f"{name} must be a slice, or its start and stop within 0..{space.shape[0]}, got {entries!r}; "
                "reorder the observation if the entries do not stand side by side"
            )
        entries = slice(*ends)
    chosen = entries
    low, high = space.low[chosen], space.high[chosen]
    if not len(low):
        raise ValueError(f"{name} must leave some of the {space.shape[0]} entries, got {entries!r}")
    return ObservationPart(spaces.Box(low, high, dtype=space.dtype.type), entries=chosen)
