"""Train the class-conditional diffusion model that ships inside vl-diffusion.

A small DiT (Peebles & Xie, 2023, "Scalable Diffusion Models with Transformers"), as diffusers' `DiTTransformer2DModel`,
predicts the noise in 28x28 grey pictures of the ten Fashion-MNIST classes. Everything random comes from one seed, and
an interrupted run goes on with the same command::

    VL_DATA=<folder with fashion_mnist/> python tools/train_fashion_dit.py --out runs/fashion_dit --compile

The folder then holds `model/` (what ships), `checkpoint.safetensors` with `checkpoint.json`, and `metrics.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, DiTTransformer2DModel
from diffusion_training import (
    learning_rate,
    load_checkpoint,
    save_checkpoint,
    shuffled_batch,
    stratified,
    update_average,
)
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm
from vl_core.data import open_dataset
from vl_core.data.idx import read_idx

CLASSES = 10
NULL_CLASS = CLASSES  # the label that stands for none of them


def build_model() -> DiTTransformer2DModel:
    """The architecture: 28x28 in patches of 4, six blocks of width 160."""
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
    """The cosine schedule of Nichol & Dhariwal (2021), a thousand steps, predicting the noise."""
    return DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", clip_sample=True)


def batch_at(
    step: int, images: torch.Tensor, labels: torch.Tensor, args: argparse.Namespace
) -> tuple[torch.Tensor, ...]:
    """Everything random about one step, from the seed and the step alone, so that a resumed run is the same run.

    Time steps are stratified: one in each of `batch` equal parts of the schedule, which lowers the loss's variance.
    """
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
    index = shuffled_batch(step, len(images), args.batch, args.seed)
    x0 = images[index].float().div(127.5).sub(1)
    label = labels[index].clone()
    label[torch.rand(args.batch, generator=generator) < args.null_share] = NULL_CLASS
    timestep = (stratified(args.batch, generator) * 1000).long().clamp(max=999)
    noise = torch.randn(x0.shape, generator=generator)
    return x0, label, timestep, noise


def export(out: Path, ema: dict[str, torch.Tensor]) -> None:
    """The averaged weights in half precision (6.5 MB), the schedule, and the class names, as they ship."""
    model = build_model()
    model.load_state_dict(ema)
    model.half().save_pretrained(out / "model")
    build_scheduler().save_pretrained(out / "model")
    (out / "model" / "classes.json").write_text(json.dumps(open_dataset("fashion").classes, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VL_DATA", "data")) / "fashion_mnist")
    parser.add_argument("--out", type=Path, default=Path("runs/fashion_dit"))
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--peak-lr", type=float, default=1e-3)
    parser.add_argument("--warm-up", type=int, default=300)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--null-share", type=float, default=0.05, help="share of pictures shown without their class")
    parser.add_argument("--checkpoint-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--compile", action="store_true", help="torch.compile, a third faster; wants a C++ compiler")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.from_numpy(read_idx(args.data / "train-images-idx3-ubyte.gz"))[:, None]
    labels = torch.from_numpy(read_idx(args.data / "train-labels-idx1-ubyte.gz").astype(np.int64))

    torch.manual_seed(args.seed)
    # Evaluation mode on purpose: in training mode every block of this class drops its own labels independently, and
    # half of the pictures would be shown with a class in some blocks and without it in others.
    model = build_model().to(device).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.peak_lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    network = torch.compile(model) if args.compile else model
    ema = {name: value.detach().clone() for name, value in model.state_dict().items()}
    signal = build_scheduler().alphas_cumprod.double().sqrt().float().to(device)
    spread = (1 - build_scheduler().alphas_cumprod.double()).sqrt().float().to(device)

    first = load_checkpoint(args.out, model, ema, optimizer)
    started, running = time.time(), []
    bar = tqdm(range(first, args.steps), initial=first, total=args.steps, desc="train", mininterval=5)
    for step in bar:
        x0, label, timestep, noise = (t.to(device) for t in batch_at(step, images, labels, args))
        x_t = signal[timestep].view(-1, 1, 1, 1) * x0 + spread[timestep].view(-1, 1, 1, 1) * noise
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.peak_lr, args.warm_up)
        # The fused attention's backward in bfloat16 takes ten times longer on a CPU than 49 patches written out.
        with torch.autocast(device, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            predicted = network(x_t, timestep=timestep, class_labels=label).sample
        loss = F.mse_loss(predicted.float(), noise)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        update_average(ema, model, step, args.ema)
        running.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == args.steps:
            row = {"step": step + 1, "loss": float(np.mean(running)), "seconds": round(time.time() - started, 1)}
            with (args.out / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            bar.set_postfix(loss=f"{row['loss']:.4f}")
            running = []
        if (step + 1) % args.checkpoint_every == 0 or step + 1 == args.steps:
            save_checkpoint(args.out, step + 1, model, ema, optimizer)
    export(args.out, ema)


if __name__ == "__main__":
    main()
