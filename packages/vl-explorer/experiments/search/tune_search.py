"""Compare settings of the process and of the linear model on seeds from 100 on, with held-out images for target.

    python packages/vl-explorer/experiments/search/tune_search.py fifty --out runs/search

Prints the settings of each policy, the best first, by the geometric mean over tasks of the relevant images that are
downloaded. What the study measures, the target images and its seeds, is not looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from designs import DESIGNS
from searching import Policy, prepare, search_with
from vl_core.progress import progress_bar
from vl_explorer import open_world
from world_features import TASKS, features_of

TIERS = ((15, 60), (30, 100), (60, 240))


def settings(process: Policy) -> Iterator[Policy]:
    """The grid, with as many settings of the linear model as of the process; the rest is as ``process`` has it."""
    drops = (0.5, 0.75) if process.scouts else (0.5,)
    for scale, noise, tiers, beta, drop in product((0.4, 0.6), (0.3, 1.0), TIERS, (0.3, 1.0), drops):
        yield replace(process, length_scale=scale, noise=noise, beta=beta, tiers=tiers, hopeless=drop)
    linear = replace(process, name="linear", length_scale=Policy.length_scale)
    for variance, noise, tiers, beta, drop in product((0.1, 0.3), (0.3, 1.0), TIERS, (0.3, 1.0), drops):
        yield replace(linear, weight_variance=variance, noise=noise, beta=beta, tiers=tiers, hopeless=drop)
    yield Policy("greedy")
    yield Policy("random")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("design", choices=DESIGNS)
    parser.add_argument("--encoder", default="imagenet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    args = parser.parse_args()
    worlds = [open_world("full", target=task) for task in TASKS]
    features = features_of(args.encoder, worlds, args.out)
    design = DESIGNS[args.design]
    scenes = [prepare(world, features, design, tuning=True) for world in worlds]
    table = []
    for policy in progress_bar(list(settings(design.policies[0])), desc="settings"):
        counts = np.zeros((len(scenes), args.seeds, 2))
        for place, scene in enumerate(scenes):
            for seed in range(args.seeds):
                parts = search_with(policy, scene, 100 + seed).downloads
                last = np.concatenate(parts[-max(1, round(len(parts) / 3)) :])
                counts[place, seed] = scene.relevant[np.concatenate(parts)].sum(), scene.relevant[last].mean()
        total, late = counts.mean(axis=1).T
        table.append((float(np.exp(np.log(total + 1).mean())), policy, total, late))
    for name in ("gp", "linear", "greedy", "random"):
        own = sorted((row for row in table if row[1].name == name), key=lambda row: -row[0])
        for score, policy, total, late in own[:8]:
            print(f"{score:.1f} {total.round(0).tolist()} last third {(100 * late).round(1).tolist()} % {policy}")


if __name__ == "__main__":
    main()
