r"""Train the class-conditional diffusion model that ships inside vl-diffusion.

A small DiT (Peebles & Xie, 2023, "Scalable Diffusion Models with Transformers"), as diffusers' `DiTTransformer2DModel`,
predicts the noise in 28x28 gray images of the ten Fashion-MNIST classes. Everything random comes from one seed; rerun
to resume::

    VL_DATA=<folder with fashion_mnist/> \
        python packages/vl-diffusion/experiments/fashion/train_fashion_dit.py --out runs/fashion_dit --compile

The folder then holds `model/` (what ships), `checkpoint/`, `config.json` and `metrics.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, DiTTransformer2DModel
from torch.nn import functional as F
from vl_core.data import open_dataset
from vl_core.data.idx import read_idx

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from augmentation import augmented
from training_options import add_training_options, stratified, train

CLASSES = 10
NULL_CLASS = CLASSES  # the label that stands for none of them


def build_model() -> DiTTransformer2DModel:
    """Build the network: 28x28 in patches of 4, six blocks of width 160."""
    return DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=40,
        in_channels=1,
        out_channels=1,
        num_layers=6,
        sample_size=28,
        patch_size=4,
        num_embeds_ada_norm=CLASSES,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    )


def build_scheduler() -> DDPMScheduler:
    """Build the cosine schedule of Nichol & Dhariwal (2021), a thousand steps, predicting the noise."""
    return DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", clip_sample=True)


def batch_at(
    step: int, index: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, args: argparse.Namespace
) -> tuple[torch.Tensor, ...]:
    """Draw everything random about one step from the seed and the step alone, so that a resumed run is the same run.

    Time steps are stratified: one in each of `batch` equal parts of the schedule, which lowers the loss's variance.
    """
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
    x0 = images[index].float().div(255)
    if args.augment:
        x0 = augmented(x0, generator)
    x0 = x0.mul(2).sub(1)
    label = labels[index].clone()
    label[torch.rand(len(index), generator=generator) < args.null_share] = NULL_CLASS
    timestep = (stratified(len(index), generator) * 1000).long().clamp(max=999)
    noise = torch.randn(x0.shape, generator=generator)
    return x0, label, timestep, noise


def export(out: Path, ema: dict[str, torch.Tensor]) -> None:
    """Save the EMA weights in half precision, the schedule, and the class names, as they ship."""
    model = build_model()
    model.load_state_dict(ema)
    model.half().save_pretrained(out / "model")
    build_scheduler().save_pretrained(out / "model")
    (out / "model" / "classes.json").write_text(json.dumps(open_dataset("fashion").classes, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VL_DATA", "data")) / "fashion_mnist")
    parser.add_argument("--out", type=Path, default=Path("runs/fashion_dit"))
    parser.add_argument("--null-share", type=float, default=0.05, help="share of images shown without their class")
    parser.add_argument("--augment", action="store_true", help="show dim, hazy, blurred, coarse and noisy images")
    parser.add_argument("--begin-with", type=Path, help="folder of a trained model to start from")
    add_training_options(parser, steps=20_000, batch=64, peak_lr=1e-3, warm_up=300)
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.from_numpy(read_idx(args.data / "train-images-idx3-ubyte.gz"))[:, None]
    labels = torch.from_numpy(read_idx(args.data / "train-labels-idx1-ubyte.gz").astype(np.int64))

    torch.manual_seed(args.seed)
    # Evaluation mode on purpose: in training mode every block of this class drops its own labels independently, and
    # half of the images would be shown with a class in some blocks and without it in others.
    model = build_model()
    if args.begin_with is not None:
        model.load_state_dict(DiTTransformer2DModel.from_pretrained(args.begin_with).float().state_dict())
    model = model.to(device).eval()
    signal = build_scheduler().alphas_cumprod.double().sqrt().float().to(device)
    spread = (1 - build_scheduler().alphas_cumprod.double()).sqrt().float().to(device)

    def loss(network: torch.nn.Module, index: torch.Tensor, step: int) -> torch.Tensor:
        x0, label, timestep, noise = (t.to(device) for t in batch_at(step, index, images, labels, args))
        x_t = signal[timestep].view(-1, 1, 1, 1) * x0 + spread[timestep].view(-1, 1, 1, 1) * noise
        predicted = network(x_t, timestep=timestep, class_labels=label).sample
        return F.mse_loss(predicted.float(), noise)

    # The fused attention's backward in bfloat16 takes ten times longer on a CPU than 49 patches written out.
    train(model, len(images), loss, args, math_attention=True, training_mode=False)
    export(args.out, model.state_dict())


if __name__ == "__main__":
    main()
