r"""Learning curves of SAC on Pendulum, with Fourier features and without, as rows of `pendulum.csv` and a PNG.

    python packages/vl-rl/experiments/fourier/pendulum.py

Both have networks of about as many parameters, 64 wide, and the same settings. A run's rows are written when it ends;
rerun to resume.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from vl_core.charts import COLORS, PAGE_WIDTH, new_figure, save_figure, style_axes
from vl_core.progress import progress_bar
from vl_core.results import append_row, provenance, read_rows
from vl_rl.fourier import FourierSAC

HERE = Path(__file__).parent
STEPS = 6000
LAST = 5
"""Number of last episodes whose mean return tells whether the task is solved, at -200."""
SETTINGS: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 256, "learning_starts": 100, "device": "cpu"}
NETWORKS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "MLP": (SAC, "MlpPolicy", {"net_arch": [64, 64]}),
    "Fourier features": (FourierSAC, "FourierMlpPolicy", {"net_arch": [64], "fourier_dim": 64, "sigma": 0.03}),
}


class Returns(BaseCallback):
    """Record the return of every episode of training, and show progress."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.found: list[tuple[int, float]] = []
        self._bar = progress_bar(total=STEPS, desc=name, unit="step")

    def _on_step(self) -> bool:
        self._bar.update()
        for info in self.locals["infos"]:
            if "episode" in info:
                self.found.append((self.num_timesteps, float(info["episode"]["r"])))
        return True


def run(network: str, seed: int) -> list[tuple[int, float]]:
    """Steps and returns of the episodes of one run."""
    algorithm, policy, kwargs = NETWORKS[network]
    returns = Returns(f"{network}, seed {seed}")
    model = algorithm(policy, "Pendulum-v1", seed=seed, policy_kwargs=dict(kwargs), **SETTINGS)
    model.learn(STEPS, callback=returns)
    return returns.found


def draw(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Draw the returns of each seed, and their mean."""
    curves: dict[str, dict[int, list[float]]] = {network: defaultdict(list) for network in NETWORKS}
    for row in rows:
        curves[row["network"]][int(row["step"])].append(float(row["return"]))
    figure = new_figure(PAGE_WIDTH, 3.4)
    axes = figure.subplots()
    for color, (network, curve) in zip(COLORS, curves.items(), strict=False):
        steps = sorted(curve)
        axes.plot(steps, [fmean(curve[step]) for step in steps], color=color, label=f"{network}, mean of seeds")
        low, high = [min(curve[step]) for step in steps], [max(curve[step]) for step in steps]
        axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    axes.axhline(-200, color="0.5", linewidth=1, linestyle="--", label="solved")
    axes.set(xlabel="environment steps", ylabel="return of training episodes", xlim=(0, STEPS))
    style_axes(axes, grid="y")
    axes.legend(frameon=False, loc="lower right")
    save_figure(figure, path)


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
    draw(rows, given.out / "pendulum.png")


if __name__ == "__main__":
    main()
