"""Train a diffusion model of scenes that is conditioned on the class, or the depth, of every pixel.

A small U-Net, as diffusers' `UNet2DModel`, predicts the noise in 24x24 color images of `scenes.py`, and takes
their class map (a channel per class) or their depth as further input channels. Most images are shown dim, hazy,
blurred, coarse or noisy, always with the map of the clean one, since a teacher must have seen such images to judge
predictions on them. Everything random comes from one seed; rerun to resume::

    python packages/vl-diffusion/experiments/scenes/train_scene_denoiser.py --task segmentation --compile
    python packages/vl-diffusion/experiments/scenes/train_scene_denoiser.py --task depth --compile

The folder then holds `model/` (float16, 2.7 MB, not committed), `checkpoint/`, `config.json` and `metrics.jsonl`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel
from scene_models import SIZE, TASKS, Task, maps_of, scenes_of
from scenes import CLASSES
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from augmentation import augmented
from training_options import add_training_options, stratified, train


def build_model(task: Task) -> UNet2DModel:
    """Build the network: three resolutions of 16, 48 and 96 channels, one residual block each way, no attention."""
    return UNet2DModel(
        sample_size=SIZE,
        in_channels=3 + (len(CLASSES) if task == "segmentation" else 1),
        out_channels=3,
        block_out_channels=(16, 48, 96),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        add_attention=False,
    )


def build_scheduler() -> DDPMScheduler:
    """Build the cosine schedule of Nichol & Dhariwal (2021), a thousand steps, predicting the noise."""
    return DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", clip_sample=True)


def doubt(maps: Tensor, generator: torch.Generator, *, share: float = 0.5) -> Tensor:
    """Mix some class maps with that of another image, each weighted by the probability that it is the true one.

    So the model learns to read maps as calibrated probabilities: a map of weight w is the true one in a share w of
    cases.
    """
    batch = len(maps)
    weight = torch.rand(batch, generator=generator)
    # A weight is drawn evenly, and kept in proportion to itself: otherwise it is that of the other map.
    weight = torch.where(torch.rand(batch, generator=generator) < weight, weight, 1 - weight)
    weight = torch.where(torch.rand(batch, generator=generator) < share, weight, 1.0).view(-1, 1, 1, 1)
    return weight * maps + (1 - weight) * maps.roll(1, 0)


def batch_at(step: int, index: Tensor, images: Tensor, maps: Tensor, args: argparse.Namespace) -> tuple[Tensor, ...]:
    """Draw everything random about one step from the seed and the step alone, so that a resumed run is the same run.

    Time steps are stratified: one in each of `batch` equal parts of the schedule, which lowers the loss's variance.
    """
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
    mirrored = torch.rand(len(index), 1, 1, 1, generator=generator) < 0.5
    x0, shown = (torch.where(mirrored, one[index].flip(3), one[index]) for one in (images, maps))
    x0 = augmented(x0, generator, in_place=True).mul(2).sub(1)
    if args.task == "segmentation":
        shown = doubt(shown, generator)
    timestep = (stratified(len(index), generator) * 1000).long().clamp(max=999)
    return x0, shown, timestep, torch.randn(x0.shape, generator=generator)


def export(out: Path, ema: dict[str, Tensor], task: Task) -> None:
    """Save the EMA weights in half precision, and the schedule."""
    model = build_model(task)
    model.load_state_dict(ema)
    model.half().save_pretrained(out / "model")
    build_scheduler().save_pretrained(out / "model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--out", type=Path, help="default: runs/TASK_denoiser")
    parser.add_argument("--scenes", type=int, default=8192)
    add_training_options(parser, steps=3000, batch=32, peak_lr=2e-3, warm_up=100)
    args = parser.parse_args()
    args.out = args.out or Path(f"runs/{args.task}_denoiser")

    device = "cuda" if torch.cuda.is_available() else "cpu"
    views = scenes_of("denoiser", args.scenes)
    images, maps = views.images, maps_of(args.task, views)

    torch.manual_seed(args.seed)
    model = build_model(args.task).to(device)
    alphas_cumprod = build_scheduler().alphas_cumprod.double()
    signal, spread = (level.sqrt().float().to(device) for level in (alphas_cumprod, 1 - alphas_cumprod))

    def loss(network: nn.Module, index: Tensor, step: int) -> Tensor:
        x0, shown, timestep, noise = (t.to(device) for t in batch_at(step, index, images, maps, args))
        x_t = signal[timestep].view(-1, 1, 1, 1) * x0 + spread[timestep].view(-1, 1, 1, 1) * noise
        predicted = network(torch.cat([x_t, shown], 1), timestep).sample
        return F.mse_loss(predicted.float(), noise)

    train(model, len(images), loss, args)
    export(args.out, model.state_dict(), args.task)


if __name__ == "__main__":
    main()
