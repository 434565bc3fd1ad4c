"""The settings of one training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vl_rl.zoo.algorithms import check_algorithm


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One algorithm on one environment with one seed."""

    algo: str
    """Name of the algorithm, one of `vl_rl.zoo.algorithms.ALGORITHMS`."""
    env: str
    """Id of the environment."""
    seed: int = 0
    """Seed of the weights, the environments and the exploration."""
    relabel: str = ""
    """Strategy of hindsight relabeling; empty for the buffer of stable-baselines3."""
    total_timesteps: int = 20_000
    """Environment steps."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """Hyper-parameters as rl-zoo3 writes them; see `vl_rl.zoo.hyperparameters`."""
    source: str = "hyperparameters"
    """File that they come from, for errors."""
    eval_every: int = 1000
    """Steps between two evaluations."""
    eval_episodes: int = 5
    """Episodes of an evaluation."""
    checkpoint_every: int = 5000
    """Steps between two checkpoints."""
    device: str = "cpu"
    """Device of the networks."""

    def __post_init__(self) -> None:
        for name in ("total_timesteps", "eval_every", "eval_episodes", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def is_off_policy(self) -> bool:
        """True if the algorithm learns from a replay buffer."""
        return check_algorithm(self.algo).off_policy

    @property
    def label(self) -> str:
        """Name of the method in tables and charts."""
        return f"{self.algo}, {self.relabel}" if self.relabel else self.algo

    @property
    def folder(self) -> str:
        """Folder of the run below the folder of a comparison."""
        return f"runs/{self.label.replace(', ', '-')}/seed-{self.seed}"

    def config(self) -> dict[str, Any]:
        """Settings that determine the result of the run."""
        names = ("algo", "env", "seed", "relabel", "total_timesteps", "hyperparameters", "eval_every", "eval_episodes")
        return {name: getattr(self, name) for name in names}
