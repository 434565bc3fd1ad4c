"""Search a web of 20,000 images for three tasks with four policies and five seeds, and count the relevant images.

    OMP_NUM_THREADS=1 python packages/vl-explorer/experiments/search/search_study.py --out runs/search
    OMP_NUM_THREADS=1 python packages/vl-explorer/experiments/search/search_study.py --scouts 4 --out runs/search

Needs `$VL_DATA`; `world_features.py` explains the features, which are kept in `--out`. A run ends when 5 % of the web
were downloaded, or as many images as are relevant, if these are fewer. Each adds a row to
`packages/vl-explorer/results/search.csv`; runs that have one are passed over, so that the same command resumes.
`report_search.py` makes table and chart; `tune_search.py` chose the settings below.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from searching import Outcome, Policy, Scene, prepare, search_with
from vl_core.results import append_row, provenance, read_rows
from vl_explorer import open_world
from vl_explorer.rewards.separation import auroc
from world_features import TASKS, features_of

ROWS = Path(__file__).resolve().parents[2] / "results" / "search.csv"
POLICIES = {
    0: (
        Policy("gp", length_scale=0.4, noise=1.0, beta=0.3, tiers=(30, 100)),
        Policy("linear", weight_variance=0.1, noise=1.0, beta=1.0, tiers=(15, 60)),
        Policy("greedy"),
        Policy("random"),
    ),
    4: (
        Policy("gp", length_scale=0.6, noise=1.0, beta=0.3, tiers=(30, 100), scouts=4, hopeless=0.75),
        Policy("linear", weight_variance=0.1, noise=1.0, beta=1.0, tiers=(30, 100), scouts=4, hopeless=0.75),
        Policy("greedy"),
        Policy("random"),
    ),
}
"""Policies by the number of scouts; greedy and random search take all results of a query."""
SEEDS = {0: range(5), 4: range(10, 15)}
"""Scouts were tried after the first runs had been seen, so theirs are other seeds."""


def measures(outcome: Outcome, scene: Scene) -> dict[str, object]:
    """Counts of a run; hits are relevant images among those that were downloaded."""
    images = np.concatenate(outcome.downloads)
    last = np.concatenate(outcome.downloads[-max(1, round(len(outcome.downloads) / 3)) :])
    return {
        "web": len(scene.rewards),
        "relevant": int(scene.relevant.sum()),
        "reward_auroc": f"{auroc(scene.rewards[scene.relevant], scene.rewards[~scene.relevant]):.3f}",
        "budget": scene.budget,
        "iterations": len(outcome.downloads),
        "queries": outcome.queries,
        "unique_images": len(images),
        "unique_relevant": int(scene.relevant[images].sum()),
        "last_images": len(last),
        "last_hits": int(scene.relevant[last].sum()),
        "mean_reward": f"{scene.rewards[images].mean():.4f}",
        "relevant_by_iteration": " ".join(str(int(scene.relevant[part].sum())) for part in outcome.downloads),
        "images_by_iteration": " ".join(str(len(part)) for part in outcome.downloads),
    }


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="imagenet", help="a start encoder: imagenet, self-supervised, pixels")
    parser.add_argument("--scouts", type=int, choices=(0, 4), default=0, help="first images that may drop a query")
    parser.add_argument("--out", type=Path, required=True, help="folder of the features")
    parser.add_argument("--rows", type=Path, default=ROWS)
    args = parser.parse_args()
    done = {
        (row["encoder"], row["scouts"], row["task"], row["policy"], row["seed"])
        for row in (read_rows(args.rows) if args.rows.exists() else [])
    }
    worlds = [open_world("full", target=task) for task in TASKS]
    features = features_of(args.encoder, worlds, args.out)
    for world in worlds:
        scene = prepare(world, features)
        for seed in SEEDS[args.scouts]:
            for policy in POLICIES[args.scouts]:
                key = (args.encoder, str(args.scouts), world.task, policy.name, str(seed))
                if key in done:
                    continue
                row = dict(zip(("encoder", "scouts", "task", "policy", "seed"), key, strict=True))
                append_row(args.rows, row | measures(search_with(policy, scene, seed), scene) | provenance())


if __name__ == "__main__":
    main()
