"""Options and settings shared by scripts that train a small diffusion model by the loop of `vl_core.training`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from vl_core.training import Shuffled, TrainingSettings, fit

# What may change when a run is resumed.
_FREE = ("out", "data", "compile", "checkpoint_every", "validate_every", "validation_images", "validation_draws")


def add_training_options(
    parser: argparse.ArgumentParser, *, steps: int, batch: int, peak_lr: float, warm_up: int
) -> None:
    """Add the options that `train` reads, and the seed; the defaults are those of the model that ships."""
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--peak-lr", type=float, default=peak_lr)
    parser.add_argument("--warm-up", type=int, default=warm_up)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--checkpoint-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--compile", action="store_true", help="torch.compile, a third faster; wants a C++ compiler")
    parser.add_argument("--seed", type=int, default=0)


def train(
    model: nn.Module,
    size: int,
    loss: Callable[[nn.Module, Tensor, int], Tensor],
    args: argparse.Namespace,
    *,
    weight_decay: float = 0.01,
    decay_share: float = 1.0,
    math_attention: bool = False,
    **options: Any,
) -> None:
    """Train a model in place into the EMA of its weights; rerun to resume.

    AdamW with gradients clipped to norm 1, in bfloat16: linear warm-up, then half a cosine down to zero.

    Args:
        model: Model to train.
        size: Number of images; each epoch shows them in an order of its own.
        loss: From the model, the indices of a batch on the CPU, and the step, to the loss. It draws everything random
            from the seed and the step.
        args: Options of `add_training_options`, and ``out``, the folder of the run.
        weight_decay: Of AdamW.
        decay_share: Share of the steps over which the learning rate falls, see `TrainingSettings`.
        math_attention: See `TrainingSettings`.
        options: More arguments of `fit`.
    """
    settings = TrainingSettings(
        updates=args.steps,
        batch_size=args.batch,
        learning_rate=args.peak_lr,
        warmup=min(args.warm_up, args.steps),
        decay_share=decay_share,
        betas=(0.9, 0.99),
        weight_decay=weight_decay,
        max_grad_norm=1.0,
        ema_decay=args.ema,
        precision="bfloat16",
        math_attention=math_attention,
        seed=args.seed,
    )
    fit(
        torch.compile(model) if args.compile else model,  # type: ignore[arg-type]
        Shuffled(range(size), args.seed),
        lambda network, index, step: loss(network, index.cpu(), step),
        settings,
        args.out,
        trained=model,
        config={"script": {name: value for name, value in vars(args).items() if name not in _FREE}},
        checkpoint_every=args.checkpoint_every,
        log_every=100,
        **options,
    )


def stratified(count: int, generator: torch.Generator) -> Tensor:
    """Uniform numbers in 0..1, one in each of ``count`` equal parts, in order."""
    return (torch.arange(count) + torch.rand(count, generator=generator)) / count
