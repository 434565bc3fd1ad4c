"""Adapt the segmenter, or the depth network, of the scenes to corrupted images, and say what it was worth.

For every corruption, level and seed, a stream of corrupted images is predicted as the network stands and with
test-time adaptation, the same images for both::

    python packages/vl-diffusion/experiments/scenes/adapt_scenes.py --task segmentation
    python packages/vl-diffusion/experiments/scenes/adapt_scenes.py --task depth

append rows to `packages/vl-diffusion/results/dense.csv`: one a seed and metric, and one of all seeds together, each
with the gain, which is more than nothing where adaptation is an improvement, and its 95 % interval. A seed has a
network, images, corruptions and noise of its own. Cells that the file has are not computed again, so that an
interrupted study goes on. `--split choose` is for choosing settings, on other scenes than those that are reported.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dense_scores import confusion, mean_iou, paired_interval, rmse, ssim
from scene_models import MODELS, TASKS, Predictor, Task, load_task, scenes_of
from scenes import CLASSES, FARTHEST, NEAREST, Views
from torch import Tensor
from tqdm.auto import tqdm
from vl_core.corruptions import corrupt
from vl_core.results import append_row, provenance, read_rows
from vl_diffusion import Adaptation, DiffusionTTA, Entropy, TestTimeAdapter

RESULTS = MODELS.parent / "dense.csv"
CORRUPTIONS = ("gaussian_noise", "shot_noise", "fog", "frost", "contrast", "pixelate")

_SHARED = {"adapt": "all", "mode": "online", "optimizer": "adam", "steps": 1, "images_at_once": 8}
CHOSEN: dict[Task, dict[str, Any]] = {
    "segmentation": _SHARED | {"learning_rate": 2e-4, "draws": 16, "time_range": (0.01, 0.4)},
    "depth": _SHARED | {"learning_rate": 1e-4, "draws": 8, "time_range": (0.01, 0.2)},
}
"""Settings of the adapter."""


@dataclass(frozen=True)
class Metric:
    """A score of maps, from statistics that are averaged over images."""

    statistics: Callable[[Tensor, Views], Tensor]
    """From a network's outputs and the truth to ``(B, ...)``."""

    score: Callable[[Tensor], Tensor]
    """From their means ``(..., *)`` to scores ``(...)``."""

    less_is_better: bool = False


METRICS: dict[Task, dict[str, Metric]] = {
    "segmentation": {
        "miou": Metric(lambda output, views: confusion(output.argmax(1), views.masks, len(CLASSES)).double(), mean_iou)
    },
    "depth": {
        "ssim": Metric(lambda output, views: ssim(output, views.depths, extent=FARTHEST - NEAREST), lambda mean: mean),
        "rmse": Metric(lambda output, views: rmse(output, views.depths), lambda mean: mean, less_is_better=True),
    },
}
"""Mean intersection over union of the pixels of all images; and means over images of similarity and error."""


def shifted(views: Views, corruption: str, severity: int, seed: int) -> Tensor:
    """The images under a corruption as it was published for large images; level 0 leaves them as they are."""
    if not severity:
        return views.images
    images: Tensor = corrupt(views.images, corruption, severity, seed=seed, tuned_for=224)
    return images


def make_adapter(args: argparse.Namespace, method: str, seed: int) -> TestTimeAdapter:
    """The network of a seed with what adapts it."""
    denoiser, task = load_task(args.task, args.models)
    objective = DiffusionTTA(args.draws, tuple(args.time_range)) if method == "diffusion" else Entropy()
    return TestTimeAdapter(
        Predictor.load(args.models / f"{args.task}_predictor_{seed}"),
        denoiser,
        task=task,
        objective=objective,
        adapt=args.adapt,
        mode=args.mode,
        optimizer=args.optimizer,
        learning_rate=args.learning_rate,
        steps=args.steps,
        images_at_once=args.images_at_once,
        # The paper's way: images share updates.
        gate=None,
        autocast=torch.bfloat16,
        seed=seed,
    )


def compare(task: Task, runs: Sequence[tuple[Tensor, Adaptation, Views]]) -> list[dict[str, object]]:
    """Rows of one or more streams taken together: source outputs, what adaptation made of them, and the truth."""
    rows: list[dict[str, object]] = []
    for name, metric in METRICS[task].items():
        before = torch.cat([metric.statistics(source, views) for source, _, views in runs])
        after = torch.cat([metric.statistics(found.outputs, views) for _, found, views in runs])
        scores = [float(metric.score(one.double().mean(0))) for one in (before, after)]
        worse, better = (1, 0) if metric.less_is_better else (0, 1)
        low, high = paired_interval((before, after)[worse], (before, after)[better], metric.score)
        row = {"metric": name, "images": len(before), "source": scores[0], "adapted": scores[1]}
        row |= {"gain": scores[better] - scores[worse], "low": low, "high": high}
        rows.append({key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()})
    return rows


def run_cell(args: argparse.Namespace, corruption: str, severity: int, method: str) -> list[dict[str, object]]:
    """The rows of one corruption and level under one method."""
    runs, rows = [], []
    for seed in range(args.seeds):
        views = scenes_of(args.split, args.images, first=seed * args.images)
        adapter = make_adapter(args, method, seed)
        images = shifted(views, corruption, severity, seed)
        with torch.no_grad():
            source = adapter.model(images)
        run = (source, adapter(images), views)
        runs.append(run)
        rows += [{"seed": seed} | row for row in compare(args.task, [run])]
    passes = {
        name: f"{torch.cat([getattr(found, name) for _, found, _ in runs]).double().mean():.0f}"
        for name in ("forward_passes", "backward_passes")
    }
    rows += [{"seed": "all"} | row for row in compare(args.task, runs)]
    return [row | passes for row in rows]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command, settings that are not given as they were chosen for the task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--split", choices=("choose", "test"), default="test")
    parser.add_argument("--corruptions", nargs="+", default=CORRUPTIONS)
    parser.add_argument("--severities", type=int, nargs="+", default=[0, 3, 5], help="0 for clean images")
    parser.add_argument("--methods", nargs="+", choices=("diffusion", "entropy"), default=["diffusion"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=100, help="images a seed")
    settings = parser.add_argument_group("settings of the adapter, by default CHOSEN[task]")
    settings.argument_default = argparse.SUPPRESS
    settings.add_argument("--adapt")
    settings.add_argument("--mode", choices=("episodic", "online", "continual"))
    settings.add_argument("--optimizer", choices=("adam", "sgd"))
    settings.add_argument("--learning-rate", type=float)
    settings.add_argument("--steps", type=int)
    settings.add_argument("--draws", type=int)
    settings.add_argument("--time-range", type=float, nargs=2)
    settings.add_argument("--images-at-once", type=int)
    given = parser.parse_args(arguments)
    return argparse.Namespace(**CHOSEN[given.task] | vars(given))


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    settings = {name: str(getattr(args, name)) for name in CHOSEN[args.task]}
    settings["time_range"] = "{} to {}".format(*args.time_range)
    done = read_rows(args.out) if args.out.exists() else []
    # Clean images are the same whatever the corruption.
    cells = dict.fromkeys(
        (c if s else "none", s, m) for s in args.severities for c in args.corruptions for m in args.methods
    )
    for corruption, severity, method in tqdm(cells, desc=args.task, mininterval=5):
        cell = {"task": args.task, "corruption": corruption, "severity": str(severity)}
        cell |= {"method": method, **settings}
        if any(row.items() >= cell.items() for row in done):
            continue
        for row in run_cell(args, corruption, severity, method):
            append_row(args.out, cell | row | provenance())
            print(" ".join(str(part) for part in (*list(cell.values())[:4], *row.values())), flush=True)


if __name__ == "__main__":
    main()
