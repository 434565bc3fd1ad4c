"""Measure start encoders on photographs that their training did not see.

    VL_DATA=../shared/data python packages/vl-explorer/experiments/start_encoder/measure_start_encoders.py

appends a row for each to `packages/vl-explorer/results/start_encoder.csv`: accuracy of 20 nearest neighbors on the test
split of Caltech-101, from its training split; and how well rewards tell a class from the web (`separation`). Targets
are the ten largest classes of the test split, 40 images of each; the web is 400 test images of the other classes and
100 emoji of a style that the shipped encoder has not seen.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from start_images import caltech, images_of
from vl_core.data import open_dataset
from vl_core.features import knn_accuracy
from vl_core.progress import progress_bar
from vl_core.results import append_row, provenance, wilson_interval
from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.rewards.separation import Separation, separation
from vl_explorer.rewards.start import open_start_backbone, open_start_encoder

RESULTS = Path(__file__).resolve().parents[2] / "results" / "start_encoder.csv"
NEIGHBORS = 20
TARGETS, TARGET_IMAGES = 10, 40
OTHERS, EMOJI = 400, 100
CHUNK = 256


def features(encoder: ImageEncoder, images: list[Image.Image]) -> np.ndarray:
    """Features ``(n, d)`` of all images."""
    begins = progress_bar(range(0, len(images), CHUNK), desc=encoder.name, unit="chunk")
    return np.concatenate([encoder(images[begin : begin + CHUNK]) for begin in begins])


def separations(found: np.ndarray, labels: np.ndarray, emoji: np.ndarray) -> list[Separation]:
    """One for each target class of features ``(n, d)`` with labels ``(n,)``."""
    largest = np.argsort(-np.bincount(labels), kind="stable")[:TARGETS]
    draws = np.random.default_rng(0)
    results = []
    for label in largest:
        target = found[labels == label][:TARGET_IMAGES]
        others = draws.permutation(np.flatnonzero(labels != label))[:OTHERS]
        results.append(separation(target, np.concatenate([found[others], emoji])))
    return results


def measure(name: str, data: Path) -> dict[str, object]:
    """Row of one encoder."""
    encoder = open_start_encoder(name)
    (train, train_labels), (test, test_labels) = caltech(data, "train"), caltech(data, "test")
    emoji = images_of(open_dataset("emoji:fluent", split="test").subset(range(EMOJI)))
    known, found = features(encoder, train), features(encoder, test)
    tensors = (torch.from_numpy(array) for array in (known, train_labels, found, test_labels))
    accuracy = knn_accuracy(*tensors, k=NEIGHBORS)
    low, high = wilson_interval(round(accuracy * len(test)), len(test))
    aurocs = separations(found, test_labels, features(encoder, emoji))
    networks = () if name == "pixels" else open_start_backbone(name).parameters()
    return {
        "encoder": name,
        "parameters": sum(parameter.numel() for parameter in networks),
        "features": found.shape[1],
        "train_images": len(train),
        "test_images": len(test),
        "neighbors": NEIGHBORS,
        "knn_accuracy": round(accuracy, 4),
        "knn_low": round(low, 4),
        "knn_high": round(high, 4),
        "targets": TARGETS,
        "auroc_mean": round(float(np.mean([one.auroc.estimate for one in aurocs])), 4),
        "auroc_smallest": round(min(one.auroc.estimate for one in aurocs), 4),
        "targets_separated": sum(one.separates for one in aurocs),
        **provenance(),
    }


def main() -> None:
    """Measure, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", nargs="*", default=["pixels", "random", "distilled", "imagenet"])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VL_DATA", "data")))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.encoders:
        row = measure(name, args.data)
        print(" ".join(f"{key}={value}" for key, value in row.items()))
        append_row(args.out, row)


if __name__ == "__main__":
    main()
