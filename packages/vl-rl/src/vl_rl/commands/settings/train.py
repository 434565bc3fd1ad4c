"""The settings of `vl-rl train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vl_core.cli import Count, DeviceName, FolderPath, Groups, Seed, check_values

from vl_rl.zoo.algorithms import check_algorithm

RELABEL = ("air", "advantage", "reward", "random", "her_final", "her_future", "none")
"""Strategies of relabeling."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train algorithms on an environment, over several seeds, and draw their learning curves.

    By default: SAC with learned Fourier features beside plain SAC on Pendulum-v1, about two minutes. Rerun an
    interrupted command to resume it exactly; rerun a finished one with more algorithms or seeds to add them.
    """

    algo: tuple[str, ...] | None = None
    """Any of sac, td3, ddpg, dqn, ppo and a2c, the same after fourier-, and hippo; default: fourier-sac and sac (dqn
    for discrete actions, ppo for several at once), or sac alone with --relabel."""

    env: str = "Pendulum-v1"
    """Id of an environment."""

    relabel: tuple[str, ...] | None = None
    """Relabel the episodes of an environment with a family of tasks: any of air, advantage, reward, random, her_final,
    her_future and none."""

    seeds: tuple[Seed, ...] = (0, 1)
    """Seeds, one run each."""

    total_timesteps: Count | None = None
    """Environment steps of a run; default: those of the hyper-parameters, or 20,000."""

    hyperparams: Path | None = None
    """YAML file of rl-zoo3 with hyper-parameters by environment, or, for several algorithms, a folder with a file for
    each, such as sac.yml; default: built-in ones if there are any for the environment, then those of the algorithm."""

    eval_every: Count | None = None
    """Steps between two evaluations; default: a twelfth of all steps."""

    eval_episodes: Count = 5
    """Episodes of an evaluation; with a family of tasks, one of each evaluation task instead."""

    video: bool = True
    """Write a video of the first seed of each method, where the environment can be rendered."""

    checkpoint_every: Count | None = None
    """Steps between two checkpoints; default: a twelfth of all steps, 5,000 at most."""

    device: DeviceName = "cpu"
    """Device of the networks, or "auto"; small networks are fastest on the CPU."""

    out: FolderPath = Path("vl-rl-train")
    """Folder for curves.png, curves.csv, runs.csv, an .mp4 by method, and runs/ with models and TensorBoard events."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("env",),
        "Training": ("algo", "relabel", "seeds", "total_timesteps", "hyperparams"),
        "Evaluation": ("eval_every", "eval_episodes"),
        "Output": ("video", "out"),
        "Runtime": ("checkpoint_every", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs neither the environment nor an algorithm.

        Raises:
            ValueError: If a name is unknown, or a number out of range.
            FileNotFoundError: If the hyper-parameters are missing.
        """
        check_values(self)
        for option, given in (("--algo", self.algo), ("--relabel", self.relabel), ("--seeds", self.seeds)):
            if given is not None and not given:
                raise ValueError(f"{option} must name at least one, got none; leave it out for the default")
        for name in self.relabel or ():
            if name not in RELABEL:
                raise ValueError(f"--relabel must be among {', '.join(RELABEL)}, got {name!r}")
        for name in self.algo or ():
            check_algorithm(name)
        for name in self.algo or ("fourier-sac",):
            self.zoo_file(name)

    def zoo_file(self, algo: str) -> Path | None:
        """File with the hyper-parameters of an algorithm; None for the built-in ones.

        Raises:
            FileNotFoundError: If it is missing.
        """
        if self.hyperparams is None:
            return None
        path = self.hyperparams / f"{algo}.yml" if self.hyperparams.is_dir() else self.hyperparams
        if not path.is_file():
            raise FileNotFoundError(f"--hyperparams must be a YAML file or a folder with {algo}.yml, got {path}")
        return path
