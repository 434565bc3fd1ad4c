"""What the scripts that train a small diffusion model share: options, rates, time steps, averages, checkpoints, a loop.

A script gives `train` the model and a function from a step to its loss that draws everything random from the seed and
the step alone; then an interrupted run, started again, ends in the weights of an uninterrupted one.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm


def add_training_options(
    parser: argparse.ArgumentParser, *, steps: int, batch: int, peak_lr: float, warm_up: int
) -> None:
    """The options that `train` reads, and the seed; the defaults are those of the model that ships."""
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--peak-lr", type=float, default=peak_lr)
    parser.add_argument("--warm-up", type=int, default=warm_up)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--checkpoint-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--compile", action="store_true", help="torch.compile, a third faster; wants a C++ compiler")
    parser.add_argument("--seed", type=int, default=0)


def learning_rate(step: int, steps: int, peak: float, warm_up: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def plateau_rate(step: int, steps: int, peak: float, warm_up: int, decay_share: float) -> float:
    """Linear warm-up, then the peak, then half a cosine down to zero over the last share of the steps.

    How long a run is need be known only where the decay begins: until then all lengths are the same run.
    """
    start = round(steps * (1 - decay_share))
    if step < start:
        return peak * min(1.0, (step + 1) / warm_up)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - start) / max(1, steps - start)))


def shuffled_batch(step: int, size: int, batch: int, seed: int) -> Tensor:
    """Which ``batch`` of ``size`` images a step shows; each epoch has an order of its own."""
    per_epoch = size // batch
    order = torch.Generator().manual_seed(seed * 1_000_003 - 1 - step // per_epoch)
    start = step % per_epoch * batch
    return torch.randperm(size, generator=order)[start : start + batch]


def stratified(count: int, generator: torch.Generator) -> Tensor:
    """Uniform numbers in 0..1, one in each of ``count`` equal parts, in order."""
    return (torch.arange(count) + torch.rand(count, generator=generator)) / count


@torch.no_grad()
def update_average(ema: dict[str, Tensor], model: torch.nn.Module, step: int, decay: float) -> None:
    """Move the average of the weights towards the model's, faster in the first steps."""
    decay = min(decay, (step + 1) / (step + 10))
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            ema[name].lerp_(value, 1 - decay)


def save_atomically(tensors: dict[str, Tensor], path: Path) -> None:
    """Write beside the target and rename, so that an interruption leaves the last good file."""
    # Copies, since a file may not hold two names of one memory, as tied embeddings are.
    save_file({name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}, f"{path}.partial")
    Path(f"{path}.partial").replace(path)


def save_checkpoint(
    out: Path, step: int, model: torch.nn.Module, ema: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Weights, their average and the optimizer's moments in one safetensors file that carries its step."""
    tensors = {f"model.{k}": v.detach() for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors["step"] = torch.tensor(step)
    save_atomically(tensors, out / "checkpoint.safetensors")


def load_checkpoint(out: Path, model: torch.nn.Module, ema: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save_checkpoint` wrote; the step to go on with, 0 where there is none."""
    path = out / "checkpoint.safetensors"
    if not path.exists():
        return 0
    tensors = load_file(path)
    step = int(tensors.pop("step"))
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    for name in ema:
        ema[name].copy_(tensors[f"ema.{name}"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step


def train(
    model: torch.nn.Module,
    loss_at: Callable[[int], Tensor],
    args: argparse.Namespace,
    rate: Callable[[int, int, float, int], float] = learning_rate,
) -> dict[str, Tensor]:
    """Minimise ``loss_at(step)`` over the weights, going on from the checkpoint in ``args.out`` if there is one.

    Every hundred steps a line goes to ``metrics.jsonl``: the step, the mean loss since the line before, and seconds
    since the start.

    Args:
        model: The model to train.
        loss_at: Loss of a step; everything random in it depends on the seed and the step alone.
        args: The options of `add_training_options`, and ``out``.
        rate: Learning rate from the step, the number of steps, the peak learning rate and the warm-up.

    Returns:
        The average of the weights, which is what ships.
    """
    args.out.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.peak_lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ema = {name: value.detach().clone() for name, value in model.state_dict().items()}
    first = load_checkpoint(args.out, model, ema, optimizer)
    started, running = time.time(), []
    bar = tqdm(range(first, args.steps), initial=first, total=args.steps, desc="train", mininterval=5)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = rate(step, args.steps, args.peak_lr, args.warm_up)
        loss = loss_at(step)
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
    return ema
