"""Measure the returns of all paths for all tasks, against a plain double loop over the same family.

    python packages/vl-rl/benchmarks/relabeling.py
    python packages/vl-rl/benchmarks/relabeling.py --env HalfCheetahMultiObjective --paths 20 --steps 200

The paths are random rollouts of the environment. Both ways are compared before measuring. They alternate, and each is
timed in CPU seconds of one thread; medians with 20 % and 80 % quantiles go to `relabeling.csv`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

# One thread for linear algebra too; the libraries read it when they are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import vl_rl
from vl_core.results import append_row, provenance
from vl_rl.hindsight.returns import Paths, discounted_returns, returns_by_loop
from vl_rl.hindsight.tasks import Transitions

ROWS = Path(__file__).with_suffix(".csv")


def rollouts(env: Any, paths: int, steps: int) -> Paths:
    """Random paths of equal lengths; an episode that ends early is followed by the next one."""
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    parts: list[tuple[np.ndarray, ...]] = []
    for count in range(1, paths * steps + 1):
        action = env.action_space.sample()
        after, _, terminated, truncated, _ = env.step(action)
        parts.append((observation["observation"], action, after["observation"], after["achieved_goal"]))
        observation = env.reset()[0] if terminated or truncated or count % steps == 0 else after
    return Paths(Transitions(*map(np.stack, zip(*parts, strict=True))), np.full(paths, steps))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="PointTrajectory")
    parser.add_argument("--paths", type=int, default=500)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    env: Any = gymnasium.make(f"vl_rl/{args.env}-v0")
    family = env.unwrapped.task_family
    paths = rollouts(env, args.paths, args.steps)
    tasks = family.sample_tasks(args.tasks, np.random.default_rng(0))
    ways = {"loop": returns_by_loop, "vectorized": discounted_returns}
    results = {name: way(family, paths, tasks, 0.97) for name, way in ways.items()}
    difference = float(np.abs(results["loop"] - results["vectorized"]).max())
    if difference > 1e-12 * max(1.0, float(np.abs(results["loop"]).max())):
        raise SystemExit(f"the two ways disagree by {difference}")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, way in ways.items():
            started = time.process_time()
            way(family, paths, tasks, 0.97)
            times[name].append(time.process_time() - started)
    ratios = np.array(times["loop"]) / np.array(times["vectorized"])
    low, middle, high = np.quantile(ratios, [0.2, 0.5, 0.8]).round(1).tolist()
    row = {
        "env": args.env,
        "paths": args.paths,
        "tasks": args.tasks,
        "steps": args.steps,
        "loop_seconds": round(float(np.median(times["loop"])), 4),
        "vectorized_seconds": round(float(np.median(times["vectorized"])), 5),
        "times_faster": middle,
        "times_faster_20": low,
        "times_faster_80": high,
        "difference": difference,
        "vl_rl": vl_rl.__version__,
    }
    print(row)
    append_row(ROWS, row | provenance())


if __name__ == "__main__":
    main()
