r"""Learning curves of HiPPO and PPO on PointGather beside a random policy, as rows of `point_gather.csv` and a PNG.

    python packages/vl-rl/experiments/hippo/point_gather.py

HiPPO and PPO have equal steps, rollouts, minibatches, epochs and learning rates; all else is the libraries' default,
and HiPPO's skills see the whole observation. The budget was fixed before the first run. A run's rows are written
when it ends; rerun to resume.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import vl_rl  # noqa: F401  # registers the environments
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from vl_core.results import append_row, provenance, read_rows
from vl_rl.hippo.hippo import HiPPO

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what several studies share

from episode_returns import EpisodeReturns, draw_rows

HERE = Path(__file__).parent
ENV = "vl_rl/PointGather-v0"
N_ENVS, STEPS, BIN = 8, 40_000, 4_000
"""Environments, environment steps of a run, and steps of a row: as many as eight episodes take."""
SETTINGS: dict[str, Any] = {"learning_rate": 1e-3, "n_steps": 250, "batch_size": 250, "n_epochs": 10, "device": "cpu"}
ALGORITHMS = ("HiPPO", "PPO", "random")


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
    returns = EpisodeReturns(f"{algorithm}, seed {seed}", STEPS)
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
    draw_rows(
        given.out / "point_gather.png",
        rows,
        method="algorithm",
        title="vl_rl/PointGather-v0",
        metric="return of training episodes",
    )


if __name__ == "__main__":
    main()
