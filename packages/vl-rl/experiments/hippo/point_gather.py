r"""Learning curves of HiPPO and PPO on PointGather beside a random policy, as rows of `point_gather.csv` and a PNG.

    python packages/vl-rl/experiments/hippo/point_gather.py

HiPPO and PPO have equal steps, rollouts, minibatches, epochs and learning rates; all else is the libraries' default,
and HiPPO's skills see the whole observation. The budget was fixed before the first run. A run's rows are written
when it ends; rerun to resume.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import vl_rl  # noqa: F401  # registers the environments
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from vl_core.charts import COLORS, PAGE_WIDTH, new_figure, save_figure, style_axes
from vl_core.progress import progress_bar
from vl_core.results import append_row, provenance, read_rows
from vl_rl.hippo.hippo import HiPPO

HERE = Path(__file__).parent
ENV = "vl_rl/PointGather-v0"
N_ENVS, STEPS, BIN = 8, 40_000, 4_000
"""Environments, environment steps of a run, and steps of a row: as many as eight episodes take."""
SETTINGS: dict[str, Any] = {"learning_rate": 1e-3, "n_steps": 250, "batch_size": 250, "n_epochs": 10, "device": "cpu"}
ALGORITHMS = ("HiPPO", "PPO", "random")


class Returns(BaseCallback):
    """Record the return of every episode of training, and show progress."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.found: list[tuple[int, float]] = []
        self._bar = progress_bar(total=STEPS, desc=name, unit="step")

    def _on_step(self) -> bool:
        self._bar.update(N_ENVS)
        for info in self.locals["infos"]:
            if "episode" in info:
                self.found.append((self.num_timesteps, float(info["episode"]["r"])))
        return True


def run(algorithm: str, seed: int) -> list[tuple[int, float]]:
    """Steps and returns of the episodes of one run."""
    env = make_vec_env(ENV, N_ENVS, seed=seed)
    if algorithm == "random":
        rng, found = np.random.default_rng(seed), []
        env.reset()
        for step in range(N_ENVS, STEPS + 1, N_ENVS):
            _, _, _, infos = env.step(rng.uniform(-1, 1, (N_ENVS, 2)).astype(np.float32))
            found += [(step, float(info["episode"]["r"])) for info in infos if "episode" in info]
        return found
    returns = Returns(f"{algorithm}, seed {seed}")
    if algorithm == "HiPPO":
        HiPPO("HierarchicalMlpPolicy", env, manager_batch_size=25, seed=seed, **SETTINGS).learn(STEPS, returns)
    else:
        PPO("MlpPolicy", env, seed=seed, **SETTINGS).learn(STEPS, returns)
    return returns.found


def binned(episodes: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Mean return of the episodes that ended in each bin, by its last step."""
    bins = defaultdict(list)
    for step, value in episodes:
        bins[-(-step // BIN) * BIN].append(value)
    return {end: fmean(values) for end, values in sorted(bins.items())}


def draw(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Draw each algorithm's mean over seeds, and its range."""
    curves: dict[str, dict[int, list[float]]] = {name: defaultdict(list) for name in ALGORITHMS}
    for row in rows:
        curves[row["algorithm"]][int(row["step"])].append(float(row["return"]))
    figure = new_figure(PAGE_WIDTH, 3.4)
    axes = figure.subplots()
    for color, (name, curve) in zip(COLORS, curves.items(), strict=False):
        steps = sorted(curve)
        axes.plot(steps, [fmean(curve[step]) for step in steps], color=color, label=f"{name}, mean of seeds")
        low, high = [min(curve[step]) for step in steps], [max(curve[step]) for step in steps]
        axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    axes.set(xlabel="environment steps", ylabel="return of training episodes", xlim=(0, STEPS))
    style_axes(axes, grid="y")
    axes.legend(frameon=False, loc="upper left")
    save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print the means of the last bins, and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=HERE, help="folder of point_gather.csv and point_gather.png")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = given.out / "point_gather.csv"
    rows = read_rows(table) if table.exists() else []
    done = {(row["algorithm"], int(row["seed"])) for row in rows}
    for seed in given.seeds:
        for algorithm in ALGORITHMS:
            if (algorithm, seed) not in done:
                for step, value in binned(run(algorithm, seed)).items():
                    row = {"algorithm": algorithm, "seed": seed, "step": step, "return": round(value, 3)}
                    append_row(table, row | provenance())
    rows = read_rows(table)
    for algorithm, seed in sorted({(row["algorithm"], int(row["seed"])) for row in rows}):
        own = [float(row["return"]) for row in rows if (row["algorithm"], int(row["seed"])) == (algorithm, seed)]
        print(f"{algorithm}, seed {seed}: mean return of the last {BIN} steps {own[-1]:.2f}")
    draw(rows, given.out / "point_gather.png")


if __name__ == "__main__":
    main()
