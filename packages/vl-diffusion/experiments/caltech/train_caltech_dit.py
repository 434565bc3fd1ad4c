"""Train the class-conditional diffusion model of ten Caltech-101 classes.

A DiT (Peebles & Xie, 2023, "Scalable Diffusion Models with Transformers"), as diffusers' `DiTTransformer2DModel`, on
the pixels of 64x64 photographs. It predicts the velocity of Salimans & Ho (2022), which is easier to predict from large
patches than the noise is, on the schedule of Stable Diffusion, which spends more of its steps on strong noise, where
the classes of photographs differ, than the cosine does. Everything random comes from one seed; rerun to resume::

    python packages/vl-diffusion/experiments/caltech/train_caltech_dit.py --compile

The folder then holds `model/` (not committed), `checkpoint/`, `config.json` and `metrics.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from caltech_images import (
    CLASSES,
    Images,
    add_data_options,
    augment,
    draw_indices,
    normalize,
    put_aside,
    read_images,
)
from diffusers import DDPMScheduler, DiTTransformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from training_options import add_training_options, stratified, train

NULL_CLASS = CLASSES  # the label that stands for none of them


def build_model() -> DiTTransformer2DModel:
    """Build the network: 64x64 in patches of 8, six blocks of width 192."""
    return DiTTransformer2DModel(
        num_attention_heads=6,
        attention_head_dim=32,
        in_channels=3,
        out_channels=3,
        num_layers=6,
        sample_size=64,
        patch_size=8,
        num_embeds_ada_norm=CLASSES,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    )


def build_scheduler() -> DDPMScheduler:
    """Build the schedule of Stable Diffusion (Rombach et al., 2022), a thousand steps, predicting the velocity."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=True,
    )


def batch_at(step: int, count: int, images: Images, args: argparse.Namespace) -> tuple[Tensor, ...]:
    """Draw everything random about one step from the seed and the step alone, so that a resumed run is the same run.

    Time steps are stratified: one in each of `batch` equal parts of the schedule, which lowers the loss's variance.
    """
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
    index = draw_indices(images.labels, count, balance=args.balance, generator=generator)
    x0 = augment(normalize(images.images[index]), generator=generator)
    label = images.labels[index]
    label[torch.rand(count, generator=generator) < args.null_share] = NULL_CLASS
    timestep = (stratified(count, generator) * 1000).long().clamp(max=999)
    noise = torch.randn(x0.shape, generator=generator)
    return x0, label, timestep, noise


def export(out: Path, ema: dict[str, Tensor], classes: Sequence[str]) -> None:
    """Save the EMA weights in half precision (9.4 MB), the schedule, and the class names."""
    model = build_model()
    model.load_state_dict(ema)
    model.half().save_pretrained(out / "model")
    build_scheduler().save_pretrained(out / "model")
    (out / "model" / "classes.json").write_text(json.dumps(list(classes), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_options(parser)
    parser.add_argument("--out", type=Path, default=Path("runs/caltech_dit"))
    parser.add_argument("--balance", type=float, default=0.5, help="0 draws images uniformly, 1 classes uniformly")
    parser.add_argument("--null-share", type=float, default=0.05, help="share of images shown without their class")
    add_training_options(parser, steps=3000, batch=32, peak_lr=7e-4, warm_up=300)
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = read_images(args.data, "train")
    if args.validate:
        images, _ = put_aside(images)

    torch.manual_seed(args.seed)
    # Evaluation mode on purpose: in training mode every block of this class drops its own labels independently, and
    # half of the images would be shown with a class in some blocks and without it in others.
    model = build_model().to(device).eval()
    alphas_cumprod = build_scheduler().alphas_cumprod.double()
    signal = alphas_cumprod.sqrt().float().to(device)
    spread = (1 - alphas_cumprod).sqrt().float().to(device)

    def loss(network: nn.Module, index: Tensor, step: int) -> Tensor:
        # Which images are shown is drawn by class, whatever the order.
        x0, label, timestep, noise = (t.to(device) for t in batch_at(step, len(index), images, args))
        level = signal[timestep].view(-1, 1, 1, 1), spread[timestep].view(-1, 1, 1, 1)
        x_t, velocity = level[0] * x0 + level[1] * noise, level[0] * noise - level[1] * x0
        predicted = network(x_t, timestep=timestep, class_labels=label).sample
        return F.mse_loss(predicted.float(), velocity)

    # The fused attention's backward in bfloat16 takes ten times longer on a CPU than 64 patches written out.
    train(model, len(images), loss, args, math_attention=True, training_mode=False)
    export(args.out, model.state_dict(), images.classes)


if __name__ == "__main__":
    main()
