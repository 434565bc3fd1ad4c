"""The one loop that trains, on any number of processes, and resumes exactly.

Everything random is a function of the seed and the place in the run, so that an interrupted run, started again, ends in
the same weights. How many workers prepare images and whether blocks are compiled may be changed on the way: workers
change nothing; compiled blocks round differently, so that the weights may then differ in their last bits. A checkpoint
holds what is trained, its average and the optimizer; never a teacher.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, GradientState, PartialState
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm
from vl_core.runs import Checkpoint, RunFolder

from vl_attention.training.average import WeightAverage
from vl_attention.training.settings import TrainSettings
from vl_attention.training.stream import ResumableBatchSampler

CHECKPOINT_SECONDS = 60.0
"""Checkpoints are no further apart, however long an update takes."""

# Settings of how the work is done, not of what is done.
_FREE = ("workers", "compile")

Losses = Callable[[nn.Module, Tensor, Tensor, int], Mapping[str, Tensor]]
"""From the model (wrapped, where several processes share the work), images, labels and the number of the pass to
scalars; the one called ``"loss"`` is minimized, and all are logged."""


def fit(
    model: nn.Module,
    trained: nn.Module,
    groups: list[dict[str, Any]],
    dataset: Dataset[Any],
    images: int,
    losses: Losses,
    settings: TrainSettings,
    out: str | os.PathLike[str],
    *,
    config: Mapping[str, Any],
    checkpoint_every: int,
    log_every: int,
    progress: bool,
    description: str = "train",
    even_passes: bool = False,
    find_unused: bool = False,
) -> None:
    """Minimise a loss over a part of a model; with the same arguments an interrupted run goes on where it was.

    ``workers`` and ``compile`` may be others then; see the module for what that means.

    Args:
        model: What is called.
        trained: The part of it whose weights are kept in checkpoints and averaged; it has the average at the end.
        groups: Its parameters for the optimizer, see `parameter_groups`.
        dataset: Image and label at each place of the run.
        images: How many there are, which makes an epoch.
        losses: What is minimized.
        settings: How to train.
        out: Folder of the run.
        config: What else makes the run what it is; kept in the folder, and compared when it is resumed.
        checkpoint_every: The most updates between checkpoints; there is one a minute in any case.
        log_every: Updates between rows of metrics.
        progress: Whether a bar is shown.
        description: What stands before it.
        even_passes: Whether each pass must have an even number of images, as mixing them asks for.
        find_unused: Whether some parameters of the model take no part in its loss.

    Raises:
        ValueError: If there are no images, an update is not divisible as it must be, the loss or a weight is not
            finite, or the folder's run had other settings.
    """
    if not images:
        raise ValueError("images must hold at least one image")
    updates = max(1, settings.epochs * images // settings.batch_size)
    with ExitStack() as stack:
        accelerator = stack.enter_context(_accelerator(find_unused))
        if even_passes:
            _check_even(settings, accelerator.num_processes)
        model.to(accelerator.device).train()
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
        schedule = _schedule(optimizer, settings, updates)
        average = WeightAverage(trained, settings.average_decay) if settings.average_decay else None
        stack.enter_context(torch.random.fork_rng())
        kept = {name: value for name, value in asdict(settings).items() if name not in _FREE}
        frozen = sorted(name for name, parameter in trained.named_parameters() if not parameter.requires_grad)
        run, checkpoint = _open_run(accelerator, out, {**kept, "images": images, "frozen": frozen, **config})
        stack.enter_context(run)
        names: Names = {parameter: name for name, parameter in model.named_parameters()}
        first = _restore(checkpoint, trained, optimizer, names, average)
        ranks = accelerator.process_index, accelerator.num_processes
        sampler = ResumableBatchSampler(first, updates, settings.batch_size, settings.accumulation, *ranks)
        passes = iter(DataLoader(dataset, batch_sampler=sampler, num_workers=settings.workers))
        step = _Step(accelerator, accelerator.prepare_model(model), losses, settings)
        saved = time.monotonic()
        shown = progress and accelerator.is_main_process
        bar = tqdm(range(first, updates), initial=first, total=updates, desc=description, disable=not shown)
        for update in bar:
            schedule.step_update(update + 1)
            found = step(passes, update)
            optimizer.step()
            optimizer.zero_grad()
            if average is not None:
                average.update(trained, update)
            last = update + 1 == updates
            if (update + 1) % log_every == 0 or last:
                row = {name: accelerator.reduce(value, "mean").item() for name, value in found.items()}
                _check_finite(row, update)
                if accelerator.is_main_process:
                    run.log(update, **row, learning_rate=max(group["lr"] for group in optimizer.param_groups))
                bar.set_postfix({name: f"{value:.3f}" for name, value in row.items()})
            due = (update + 1) % checkpoint_every == 0 or last
            if due or time.monotonic() - saved >= CHECKPOINT_SECONDS:
                _check_weights(trained, update)
                if accelerator.is_main_process:
                    run.save_checkpoint(update + 1, _tensors(trained, optimizer, names, average), {})
                saved = time.monotonic()
        accelerator.wait_for_everyone()
    if average is not None:
        average.become(trained)


@contextmanager
def _accelerator(find_unused: bool) -> Iterator[Accelerator]:
    """An accelerator that, in a process by itself, leaves nothing for the caller's own to stumble over."""
    was_there = bool(PartialState._shared_state)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=find_unused)],
    )
    try:
        yield accelerator
    finally:
        if not was_there and accelerator.num_processes == 1:
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()


class _Step:
    """Forward and backward passes of one update."""

    def __init__(self, accelerator: Accelerator, model: nn.Module, losses: Losses, settings: TrainSettings):
        self._accelerator, self._model, self._losses, self._settings = accelerator, model, losses, settings

    def __call__(self, passes: Any, update: int) -> dict[str, Tensor]:
        """Leaves gradients in the model; the mean losses of this process."""
        accelerator, settings = self._accelerator, self._settings
        sums: dict[str, Tensor] = {}
        for index in range(settings.accumulation):
            number = (update * settings.accumulation + index) * accelerator.num_processes + accelerator.process_index
            images, labels = (tensor.to(accelerator.device, non_blocking=True) for tensor in next(passes))
            torch.manual_seed((settings.seed * 1_000_003 + number) % 2**63)  # stochastic depth, dropout, masks
            with ExitStack() as stack:
                if index + 1 < settings.accumulation:
                    stack.enter_context(accelerator.no_sync(self._model))
                found = self._losses(self._model, images, labels, number)
                (found["loss"] / settings.accumulation).backward()  # type: ignore[no-untyped-call]
            for name, value in found.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / settings.accumulation
        return sums


def computing(settings: TrainSettings, device: torch.device) -> ExitStack:
    """The precision and the kind of attention that settings ask for, as a context."""
    stack = ExitStack()
    stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"))
    if settings.math_attention:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack


def _schedule(optimizer: torch.optim.Optimizer, settings: TrainSettings, updates: int) -> Any:
    """Linear warm-up, then half a cosine."""
    warmup = round(updates * settings.warmup_epochs / settings.epochs)
    return CosineLRScheduler(
        optimizer,
        t_initial=max(1, updates - warmup),
        lr_min=settings.min_learning_rate,
        warmup_t=warmup,
        warmup_prefix=True,
        t_in_epochs=False,
    )


def _open_run(
    accelerator: Accelerator, out: str | os.PathLike[str], config: Mapping[str, Any]
) -> tuple[RunFolder, Checkpoint | None]:
    """The main process makes the folder before the others read it."""
    with accelerator.main_process_first():
        run = RunFolder(out, config)
        return run, run.load_checkpoint()


def _check_even(settings: TrainSettings, processes: int) -> None:
    passes = settings.accumulation * processes
    if settings.batch_size % (2 * passes):
        raise ValueError(
            "batch_size must give an even number of images to each pass of each process, since mixup and CutMix mix "
            f"them in pairs, got {settings.batch_size} over {processes} processes times accumulation "
            f"{settings.accumulation}; take a multiple of {2 * passes}, or mixup=0 and cutmix=0"
        )


def _check_finite(row: Mapping[str, float], update: int) -> None:
    if not all(math.isfinite(value) for value in row.values()):
        raise ValueError(
            f"the loss is not finite at update {update} ({row}); lower base_learning_rate, or train with "
            "precision='float32'; the last checkpoint, where there is one, is whole"
        )


def _check_weights(trained: nn.Module, update: int) -> None:
    """Raise rather than save what is not finite; a weight that once was NaN stays it, and makes its average NaN."""
    weights = {name: p for name, p in trained.named_parameters() if p.requires_grad and p.numel()}
    if not weights:
        return
    with torch.no_grad():
        finite = torch.stack(torch._foreach_norm(list(weights.values()), math.inf)).isfinite()
    if not finite.all():
        first = next(name for name, fine in zip(weights, finite.tolist(), strict=True) if not fine)
        raise ValueError(
            f"the weight {first} is not finite after update {update}; lower base_learning_rate, or train with "
            "precision='float32'; the last checkpoint, where there is one, is whole"
        )


Names = Mapping[Tensor, str]
"""By which the optimizer's state is kept, since its own numbers say nothing of what they number."""


def _tensors(
    trained: nn.Module, optimizer: torch.optim.Optimizer, names: Names, average: WeightAverage | None
) -> dict[str, Tensor]:
    tensors = {f"trained.{name}": value for name, value in trained.state_dict().items()}
    for parameter, state in optimizer.state.items():
        tensors |= {f"optimizer.{names[parameter]}.{key}": torch.as_tensor(value) for key, value in state.items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.tensors.items()}
    return tensors


def _restore(
    checkpoint: Checkpoint | None,
    trained: nn.Module,
    optimizer: torch.optim.Optimizer,
    names: Names,
    average: WeightAverage | None,
) -> int:
    """Put a checkpoint into place; the first update that is still to be done."""
    if checkpoint is None:
        return 0
    parts: dict[str, dict[str, Tensor]] = {"trained": {}, "optimizer": {}, "average": {}}
    for name, tensor in checkpoint.tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    trained.load_state_dict(parts["trained"])
    order = {
        names[parameter]: index
        for index, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"])
    }
    states: dict[int, dict[str, Tensor]] = {}
    for rest, tensor in parts["optimizer"].items():
        name, _, key = rest.rpartition(".")
        states.setdefault(order[name], {})[key] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    if average is not None:
        for name, tensor in parts["average"].items():
            average.tensors[name].copy_(tensor)
    return checkpoint.step
