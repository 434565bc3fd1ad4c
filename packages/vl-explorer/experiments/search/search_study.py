"""Search a web of 20,000 images for three tasks with four policies and five seeds, and count the relevant images.

    OMP_NUM_THREADS=1 python packages/vl-explorer/experiments/search/search_study.py fifty --out runs/search

Needs `$VL_DATA`; `world_features.py` explains the features, which are kept in `--out`. Designs are in `designs.py`: a
run ends when a share of the web was downloaded, or as many images as are relevant, if these are fewer. Each adds a row
to `packages/vl-explorer/results/search.csv`; runs that have one are passed over, so that the same command resumes.
`report_search.py` makes table and chart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from designs import DESIGNS
from searching import Outcome, Scene, prepare, search_with
from vl_core.results import append_row, provenance, read_rows
from vl_explorer import open_world
from vl_explorer.rewards.separation import auroc
from world_features import TASKS, features_of

ROWS = Path(__file__).resolve().parents[2] / "results" / "search.csv"


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
    parser.add_argument("design", choices=DESIGNS)
    parser.add_argument("--encoder", default="imagenet", help="a start encoder, such as imagenet or distilled")
    parser.add_argument("--out", type=Path, required=True, help="folder of the features")
    parser.add_argument("--rows", type=Path, default=ROWS)
    args = parser.parse_args()
    columns = ("encoder", "design", "task", "policy", "seed")
    done = {tuple(row[name] for name in columns) for row in (read_rows(args.rows) if args.rows.exists() else [])}
    worlds = [open_world("full", target=task) for task in TASKS]
    features = features_of(args.encoder, worlds, args.out)
    design = DESIGNS[args.design]
    for world in worlds:
        scene = prepare(world, features, design)
        for seed in design.seeds:
            for policy in design.policies:
                key = (args.encoder, args.design, world.task, policy.name, str(seed))
                if key not in done:
                    row = dict(zip(columns, key, strict=True))
                    append_row(args.rows, row | measures(search_with(policy, scene, seed), scene) | provenance())


if __name__ == "__main__":
    main()
