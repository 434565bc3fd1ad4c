"""Train the network to adapt: it segments scenes, or predicts their depth, and sees few and clean images.

Everything random comes from one seed; rerun to resume::

    python packages/vl-diffusion/experiments/scenes/train_scene_predictor.py --task segmentation --seed 0
    python packages/vl-diffusion/experiments/scenes/train_scene_predictor.py --task depth --seed 0

The folder then holds `model/` (float16, 0.2 MB, not committed), `checkpoint/`, `config.json` and `metrics.jsonl`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from scene_models import TASKS, Predictor, scenes_of
from scenes import FARTHEST, NEAREST
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from training_options import add_training_options, train


def batch_at(step: int, index: Tensor, views: Any, args: argparse.Namespace) -> tuple[Tensor, ...]:
    """Images, class masks and depths of a step, half of them mirrored; drawn from seed and step alone."""
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
    mirrored = (torch.rand(len(index), generator=generator) < 0.5).nonzero().flatten()
    shown = views.images[index], views.masks[index], views.depths[index]
    for one in shown:
        one[mirrored] = one[mirrored].flip(-1)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--out", type=Path, help="default: runs/TASK_predictor_SEED")
    parser.add_argument("--scenes", type=int, default=1024, help="training images, different for every seed")
    add_training_options(parser, steps=800, batch=32, peak_lr=3e-3, warm_up=50)
    args = parser.parse_args()
    args.out = args.out or Path(f"runs/{args.task}_predictor_{args.seed}")

    device = "cuda" if torch.cuda.is_available() else "cpu"
    views = scenes_of("predictor", args.scenes, first=args.seed * args.scenes)
    torch.manual_seed(args.seed)
    model = Predictor(args.task).to(device)

    def loss(network: nn.Module, index: Tensor, step: int) -> Tensor:
        images, masks, depths = (part.to(device) for part in batch_at(step, index, views, args))
        output = network(images).float()
        if args.task == "segmentation":
            return F.cross_entropy(output, masks)
        return F.l1_loss(output, depths) / (FARTHEST - NEAREST)

    train(model, len(views), loss, args)
    model.save(args.out / "model")


if __name__ == "__main__":
    main()
