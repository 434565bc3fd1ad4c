r"""Learning curves of SAC on Pendulum, with Fourier features and without, as rows of `pendulum.csv` and a PNG.

    python packages/vl-rl/experiments/fourier/pendulum.py

Both have networks of about as many parameters, 64 wide, and the same settings. A run's rows are written when it ends;
rerun to resume.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from stable_baselines3 import SAC
from vl_core.results import append_row, provenance, read_rows
from vl_rl.fourier import FourierSAC

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what several studies share

from episode_returns import EpisodeReturns, draw_rows

HERE = Path(__file__).parent
STEPS = 6000
LAST = 5
"""Number of last episodes whose mean return tells whether the task is solved, at -200."""
SETTINGS: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 256, "learning_starts": 100, "device": "cpu"}
NETWORKS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "MLP": (SAC, "MlpPolicy", {"net_arch": [64, 64]}),
    "Fourier features": (FourierSAC, "FourierMlpPolicy", {"net_arch": [64], "fourier_dim": 64, "sigma": 0.03}),
}


def run(network: str, seed: int) -> list[tuple[int, float]]:
    """Steps and returns of the episodes of one run."""
    algorithm, policy, kwargs = NETWORKS[network]
    returns = EpisodeReturns(f"{network}, seed {seed}", STEPS)
    model = algorithm(policy, "Pendulum-v1", seed=seed, policy_kwargs=dict(kwargs), **SETTINGS)
    model.learn(STEPS, callback=returns)
    return returns.found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print the means of the last episodes, and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=HERE, help="folder of pendulum.csv and pendulum.png")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = given.out / "pendulum.csv"
    rows = read_rows(table) if table.exists() else []
    done = {(row["network"], int(row["seed"])) for row in rows}
    for seed in given.seeds:
        for network in NETWORKS:
            if (network, seed) not in done:
                for step, value in run(network, seed):
                    row = {"network": network, "seed": seed, "step": step, "return": round(value, 2)}
                    append_row(table, row | provenance())
    rows = read_rows(table)
    for network, seed in sorted({(row["network"], int(row["seed"])) for row in rows}):
        own = [float(row["return"]) for row in rows if (row["network"], int(row["seed"])) == (network, seed)]
        print(f"{network}, seed {seed}: mean of the last {LAST} returns {fmean(own[-LAST:]):.0f}")
    draw_rows(
        given.out / "pendulum.png", rows, method="network", title="Pendulum-v1", metric="return of training episodes"
    )


if __name__ == "__main__":
    main()
