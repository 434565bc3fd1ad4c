"""What the scripts that train a small diffusion model share: rates, time steps, averages and checkpoints."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


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


def shuffled_batch(step: int, size: int, batch: int, seed: int) -> torch.Tensor:
    """Which ``batch`` of ``size`` pictures a step shows; each epoch has an order of its own."""
    per_epoch = size // batch
    order = torch.Generator().manual_seed(seed * 1_000_003 - 1 - step // per_epoch)
    start = step % per_epoch * batch
    return torch.randperm(size, generator=order)[start : start + batch]


def stratified(count: int, generator: torch.Generator) -> torch.Tensor:
    """Uniform numbers in 0..1, one in each of ``count`` equal parts, in order."""
    return (torch.arange(count) + torch.rand(count, generator=generator)) / count


@torch.no_grad()
def update_average(ema: dict[str, torch.Tensor], model: torch.nn.Module, step: int, decay: float) -> None:
    """Move the average of the weights towards the model's, faster in the first steps."""
    decay = min(decay, (step + 1) / (step + 10))
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            ema[name].lerp_(value, 1 - decay)


def save_atomically(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write beside the target and rename, so that an interruption leaves the last good file."""
    # Copies, since a file may not hold two names of one memory, as tied embeddings are.
    save_file({name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}, f"{path}.partial")
    Path(f"{path}.partial").replace(path)


def save_checkpoint(
    out: Path, step: int, model: torch.nn.Module, ema: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Weights, their average and the optimiser's moments in one safetensors file that carries its step."""
    tensors = {f"model.{k}": v.detach() for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors["step"] = torch.tensor(step)
    save_atomically(tensors, out / "checkpoint.safetensors")


def load_checkpoint(
    out: Path, model: torch.nn.Module, ema: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> int:
    """Restore what `save_checkpoint` wrote; the step to go on with, 0 where there is none."""
    path = out / "checkpoint.safetensors"
    if not path.exists():
        return 0
    tensors = load_file(path)
    step = int(tensors.pop("step"))
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    for name in ema:
        ema[name].copy_(tensors[f"ema.{name}"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step
