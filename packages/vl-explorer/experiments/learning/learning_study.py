"""Train a small network on what a search has found, and measure k-NN on held-out images of the task.

    OMP_NUM_THREADS=1 python packages/vl-explorer/experiments/learning/learning_study.py contrast --out runs/search

Needs `$VL_DATA`, and the features of `experiments/search/world_features.py` in `--out`, which it makes where they are
missing. Three arms of equal numbers of updates: the target alone; the target and what a random search has found; the
target and what the explorer has found, both searches of a design of `experiments/search/designs.py` with its first
seeds. As in the loop, the half with the better rewards is trained on; every third image that is shown is of the target.
The network begins anew in each run. Each run adds a row to `packages/vl-explorer/results/learning.csv`; runs that have
one are passed over, so that the same command resumes. `--seeds` and `--tasks` share the work among processes.
`report_learning.py` makes the table.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from vl_core.results import append_row, provenance, read_rows
from vl_explorer import MoCoLearner, open_start_backbone, open_world, small_training
from vl_explorer.learning.images import FoundImages

sys.path.append(str(Path(__file__).resolve().parents[1] / "search"))
from designs import DESIGNS
from searching import Design, Scene, prepare, search_with
from world_features import TASKS, features_of

ROWS = Path(__file__).resolve().parents[2] / "results" / "learning.csv"
ARMS = ("target alone", "random", "explorer")
SEEDS = 3
SIDE = 16
"""Pixels; a network that sees more of them is far from trained after so many updates."""
KEPT = 0.5
"""Share of the images of a search that are trained on, those with the better rewards."""
TIMES = 2
"""Images of a search to one of the target; target images are repeated for it."""


def training_images(arm: str, scene: Scene, design: Design, seed: int) -> FoundImages:
    """Images of the target, and those that the search of an arm has found."""
    world = scene.world
    names = [f"target {place}" for place in range(len(world.target))]
    images: list[Image.Image | Path] = [world.target[place][0] for place in range(len(world.target))]
    if arm != "target alone":
        name = "gp" if arm == "explorer" else "random"
        policy = next(policy for policy in design.policies if policy.name == name)
        outcome = search_with(policy, scene, seed)
        found = np.concatenate(outcome.downloads)
        best = found[np.argsort(-outcome.rewards[found], kind="stable")][: round(KEPT * len(found))]
        repeats = max(1, round(len(best) / TIMES / len(names)))
        names, images = [f"{name} {turn}" for turn in range(repeats) for name in names], images * repeats
        for number in best.tolist():
            names.append(world.web.names[number])
            images.append(world.web[number][0])
    return FoundImages(names, images)


def measure(
    arm: str, scene: Scene, design: Design, seed: int, start: str, updates: int, folder: Path
) -> dict[str, object]:
    """Train and measure one run, with a seed of the design for search and training."""
    images = training_images(arm, scene, design, seed)
    learner = MoCoLearner(
        open_start_backbone(start),
        image_size=SIDE,
        settings=small_training(seed=seed, warmup_epochs=0.05),
        updates=updates,
        name=start,
        projection=128,
        hidden=512,
        predictor_hidden=512,
        temperature=0.2,
        momentum=0.99,
    )
    before = scene.world.held_out.accuracy(learner.network())
    learner.train(images, 1, folder, progress=True)
    return {
        "images": len(images),
        "accuracy_before": f"{before:.4f}",
        "accuracy": f"{scene.world.held_out.accuracy(learner.network()):.4f}",
    }


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("design", choices=DESIGNS)
    parser.add_argument("--start", default="random", help="start encoder that is trained: random or distilled")
    parser.add_argument("--updates", type=int, default=4000)
    parser.add_argument("--out", type=Path, required=True, help="folder of the features and of checkpoints")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(SEEDS)))
    args = parser.parse_args()
    columns = ("design", "start", "updates", "task", "arm", "seed")
    done = {tuple(row[name] for name in columns) for row in (read_rows(ROWS) if ROWS.exists() else [])}
    worlds = [open_world("full", target=task) for task in TASKS]
    features = features_of("imagenet", worlds, args.out)
    design = DESIGNS[args.design]
    scenes = {world.task: prepare(world, features, design) for world in worlds if world.task in args.tasks}
    for seed in args.seeds:
        for task, scene in scenes.items():
            for arm in ARMS:
                key = (args.design, args.start, str(args.updates), task, arm, str(seed))
                if key in done:
                    continue
                folder = args.out / "learning" / "-".join(key).replace(" ", "-")
                row = dict(zip(columns, key, strict=True))
                row |= measure(arm, scene, design, design.seeds[seed], args.start, args.updates, folder)
                append_row(ROWS, row | provenance())
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
