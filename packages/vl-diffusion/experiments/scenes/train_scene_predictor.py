"""Train the network to adapt: it segments scenes, or predicts their depth, and sees few and clean images.

Everything random comes from one seed; rerun to resume::

    python packages/vl-diffusion/experiments/scenes/train_scene_predictor.py --task segmentation --seed 0
    python packages/vl-diffusion/experiments/scenes/train_scene_predictor.py --task depth --seed 0

The folder then holds `model/` (float16, 0.2 MB, not committed), `checkpoint.safetensors`, and `metrics.jsonl`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from scene_models import TASKS, Predictor, scenes_of
from scenes import FARTHEST, NEAREST
from torch import Tensor
from torch.nn import functional as F

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from diffusion_training import add_training_options, shuffled_batch, train


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
    network = torch.compile(model) if args.compile else model

    def loss_at(step: int) -> Tensor:
        index = shuffled_batch(step, len(views), args.batch, args.seed)
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        mirrored = (torch.rand(args.batch, generator=generator) < 0.5).nonzero().flatten()
        images, masks, depths = views.images[index], views.masks[index], views.depths[index]
        for one in (images, masks, depths):
            one[mirrored] = one[mirrored].flip(-1)
        with torch.autocast(device, torch.bfloat16):
            output = network(images.to(device))
        if args.task == "segmentation":
            return F.cross_entropy(output.float(), masks.to(device))
        return F.l1_loss(output.float(), depths.to(device)) / (FARTHEST - NEAREST)

    ema = train(model, loss_at, args)
    model.load_state_dict(ema)
    model.save(args.out / "model")


if __name__ == "__main__":
    main()
