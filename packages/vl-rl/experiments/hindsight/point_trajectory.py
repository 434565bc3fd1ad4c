r"""AIR relabeling against none on PointTrajectory, as rows of `point_trajectory_paper.csv` and a PNG.

    python packages/vl-rl/experiments/hindsight/point_trajectory.py
    python packages/vl-rl/experiments/hindsight/point_trajectory.py --settings small

SAC with equal settings and seeds, 15,000 steps each, a budget that was fixed before the first run. The paper's settings
are a learning rate of 3e-3 and networks of 400 and 300 units; the small ones 1e-3 and 64 units in two layers. Every
1,000 steps the agent plays each of the 25 evaluation tasks once. Rows are written as they come; rerun to resume: a run
that was interrupted begins again, and its rows are the same ones.

The score of a run is the area under its curve of interquartile means over tasks, divided by the steps: the mean over
evaluations. The interval is Student's for the differences of paired seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch
from scipy import stats
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.vec_env import DummyVecEnv
from vl_core.intervals import student_interval
from vl_core.progress import progress_bar
from vl_core.results import append_row, provenance, read_rows
from vl_rl import GeneralizedHindsightReplayBuffer, HindsightCallback, TaskExtractor, evaluate_tasks
from vl_rl.envs.point_trajectory import PointTrajectory

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what several studies share

from episode_returns import draw_rows

HERE = Path(__file__).parent
STEPS = 15_000
EVERY = 1_000
GAMMA = 0.9
COMMON = {"batch_size": 128, "learning_starts": 300, "buffer_size": 100_000, "gamma": GAMMA}
SETTINGS = {"paper": (3e-3, [400, 300]), "small": (1e-3, [64, 64])}
"""Learning rate and widths of the hidden layers."""
STRATEGIES = ("none", "air")


class Evaluations(BaseCallback):
    """Write a row for each evaluation that the table lacks, and show progress."""

    def __init__(self, strategy: str, seed: int, table: Path) -> None:
        super().__init__()
        self._strategy, self._seed = strategy, seed
        self._table = table
        self._env = DummyVecEnv([PointTrajectory] * 25)
        self._bar = progress_bar(total=STEPS, desc=f"{strategy}, seed {seed}", unit="step")

    def _on_step(self) -> bool:
        self._bar.update()
        done = steps_of(self._table, self._strategy, self._seed) if self.num_timesteps % EVERY == 0 else set()
        if self.num_timesteps % EVERY == 0 and self.num_timesteps not in done:
            returns = evaluate_tasks(self.model, self._env).returns
            row = {
                "strategy": self._strategy,
                "seed": self._seed,
                "step": self.num_timesteps,
                "iqm": round(float(stats.trim_mean(returns, 0.25)), 3),
                "returns": " ".join(f"{value:.2f}" for value in returns),
            }
            append_row(self._table, row | provenance())
        return True


def steps_of(table: Path, strategy: str, seed: int) -> set[int]:
    """Steps at which a run has been evaluated."""
    rows = read_rows(table) if table.exists() else []
    return {int(row["step"]) for row in rows if (row["strategy"], int(row["seed"])) == (strategy, seed)}


def run(settings: str, strategy: str, seed: int, table: Path) -> None:
    """Train one agent."""
    learning_rate, widths = SETTINGS[settings]
    model = SAC(
        "MultiInputPolicy",
        PointTrajectory(),
        seed=seed,
        device="cpu",
        learning_rate=learning_rate,
        policy_kwargs={"net_arch": widths, "features_extractor_class": TaskExtractor},
        replay_buffer_class=GeneralizedHindsightReplayBuffer,
        replay_buffer_kwargs={"strategy": strategy, "gamma": GAMMA},
        **COMMON,  # type: ignore[arg-type]
    )
    model.learn(STEPS, callback=CallbackList([HindsightCallback(), Evaluations(strategy, seed, table)]))


def curves(rows: Sequence[dict[str, str]]) -> dict[str, dict[int, list[float]]]:
    """Interquartile means of the complete runs, by strategy and seed, in the order of steps."""
    found: dict[str, dict[int, list[float]]] = {strategy: {} for strategy in STRATEGIES}
    for row in sorted(rows, key=lambda row: int(row["step"])):
        found[row["strategy"]].setdefault(int(row["seed"]), []).append(float(row["iqm"]))
    return {
        strategy: {seed: curve for seed, curve in runs.items() if len(curve) == STEPS // EVERY}
        for strategy, runs in found.items()
    }


def report(rows: Sequence[dict[str, str]]) -> None:
    """Print each seed's areas, and the interval of their differences."""
    runs = curves(rows)
    seeds = sorted(runs["none"].keys() & runs["air"].keys())
    areas = {strategy: [fmean(runs[strategy][seed]) for seed in seeds] for strategy in STRATEGIES}
    for i, seed in enumerate(seeds):
        print(f"seed {seed}: area none {areas['none'][i]:.2f}, air {areas['air'][i]:.2f}")
    if len(seeds) > 1:
        differences = [air - none for none, air in zip(areas["none"], areas["air"], strict=True)]
        found = student_interval(differences)
        ends = f"{found.low:.2f} to {found.high:.2f}"
        print(f"air - none: {found.estimate:.2f}, 95 % interval {ends} over {len(seeds)} seeds")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print the areas, and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--settings", choices=SETTINGS, default="paper")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the CSV and the PNG")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = given.out / f"point_trajectory_{given.settings}.csv"
    for seed in given.seeds:
        for strategy in STRATEGIES:
            if len(steps_of(table, strategy, seed)) < STEPS // EVERY:
                run(given.settings, strategy, seed, table)
    rows = read_rows(table)
    report(rows)
    draw_rows(
        table.with_suffix(".png"),
        rows,
        method="strategy",
        value="iqm",
        title=f"vl_rl/PointTrajectory-v0, {given.settings} settings",
        metric="return, interquartile mean over tasks",
    )


if __name__ == "__main__":
    main()
