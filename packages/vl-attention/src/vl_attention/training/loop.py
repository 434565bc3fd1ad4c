"""The one loop that trains students and plain classifiers, on any number of processes, and resumes exactly.

Everything random is a function of the seed and the place in the run, so that an interrupted run, started again, ends in
the same weights. A checkpoint holds the student, its average and the optimiser; never the teacher.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm
from vl_core.runs import Checkpoint, RunFolder

from vl_attention.calling import is_of_transformers
from vl_attention.training.augmentation import AugmentedPictures, Mixing, Pictures, PlainPictures
from vl_attention.training.average import WeightAverage
from vl_attention.training.parameters import parameter_groups
from vl_attention.training.settings import TrainSettings
from vl_attention.training.stream import PlaceSampler


def train(
    model: Any,
    pictures: Pictures,
    settings: TrainSettings,
    out: str | os.PathLike[str],
    *,
    classes: int,
    size: tuple[int, int],
    channels: int = 3,
    checkpoint_every: int = 500,
    log_every: int = 50,
    progress: bool = True,
) -> None:
    """Train ``model.student`` in place; with the same arguments an interrupted run goes on where it was.

    Metrics, every ``log_every`` updates: ``task_loss`` (cross-entropy, nats), ``transfer_loss`` (sum over layers,
    before its weight), ``learning_rate`` (of the head).

    Args:
        model: An `AttentionTransfer` or a `Classifier`.
        pictures: PIL pictures with labels ``0..classes - 1``.
        settings: How to train.
        out: Folder of the run: settings, metrics, TensorBoard's events, checkpoint.
        classes: How many there are.
        size: Height and width that pictures are brought to.
        channels: 1 for greyscale, 3 for colour.
        checkpoint_every: Updates between checkpoints.
        log_every: Updates between rows of metrics.
        progress: Whether a bar is shown.

    Raises:
        ValueError: If there are no pictures, an update is not divisible, the loss is not finite, or the folder's run
            had other settings.
    """
    if len(pictures) == 0:
        raise ValueError("pictures must hold at least one picture")
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=is_of_transformers(model.student))],
    )
    updates = max(1, settings.epochs * len(pictures) // settings.batch_size)
    model.to(accelerator.device).train()
    groups = parameter_groups(model.student, settings.weight_decay, settings.layer_decay)
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)
    schedule = _schedule(optimizer, settings, updates)
    average = WeightAverage(model.student, settings.average_decay) if settings.average_decay else None
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        run, checkpoint = _open_run(accelerator, out, settings, size, channels, classes)
        stack.enter_context(run)
        first = _restore(checkpoint, model.student, optimizer, average)
        sampler = PlaceSampler(
            first,
            updates,
            settings.batch_size,
            settings.accumulation,
            accelerator.process_index,
            accelerator.num_processes,
        )
        dataset = AugmentedPictures(pictures, settings, size, channels)
        passes = iter(DataLoader(dataset, batch_sampler=sampler, num_workers=settings.workers))
        if settings.compile:
            model.compile_blocks()
        prepared = accelerator.prepare_model(model)
        step = _Step(accelerator, prepared, settings, classes)
        shown = progress and accelerator.is_main_process
        bar = tqdm(range(first, updates), initial=first, total=updates, desc="train", disable=not shown)
        for update in bar:
            schedule.step_update(update + 1)
            losses = step(passes, update)
            optimizer.step()
            optimizer.zero_grad()
            if average is not None:
                average.update(model.student, update)
            last = update + 1 == updates
            if (update + 1) % log_every == 0 or last:
                task, transfer = accelerator.reduce(losses, "mean").tolist()
                if not (abs(task) < float("inf") and abs(transfer) < float("inf")):
                    raise ValueError(
                        f"the loss is not finite at update {update} (task {task}, transfer {transfer}); lower "
                        "base_learning_rate, or train with precision='float32'; the last checkpoint is whole"
                    )
                if accelerator.is_main_process:
                    rate = max(group["lr"] for group in optimizer.param_groups)
                    run.log(update, task_loss=task, transfer_loss=transfer, learning_rate=rate)
                bar.set_postfix(task=f"{task:.3f}", transfer=f"{transfer:.3f}")
            if ((update + 1) % checkpoint_every == 0 or last) and accelerator.is_main_process:
                run.save_checkpoint(update + 1, _tensors(model.student, optimizer, average), {})
        accelerator.wait_for_everyone()
    if average is not None:
        average.become(model.student)


class _Step:
    """Forward and backward passes of one update."""

    def __init__(self, accelerator: Accelerator, model: nn.Module, settings: TrainSettings, classes: int):
        self._accelerator, self._model, self._settings = accelerator, model, settings
        self._mix = Mixing(settings, classes)

    def __call__(self, passes: Any, update: int) -> Tensor:
        """Leaves gradients in the model; the mean task loss and transfer loss of this process, ``(2,)``."""
        accelerator, settings = self._accelerator, self._settings
        found = torch.zeros(2, device=accelerator.device)
        for index in range(settings.accumulation):
            number = (update * settings.accumulation + index) * accelerator.num_processes + accelerator.process_index
            images, labels = (tensor.to(accelerator.device, non_blocking=True) for tensor in next(passes))
            images, targets = self._mix(images, labels, number)
            torch.manual_seed((settings.seed * 1_000_003 + number) % 2**63)  # stochastic depth and dropout
            with ExitStack() as stack:
                if index + 1 < settings.accumulation:
                    stack.enter_context(accelerator.no_sync(self._model))
                task, transfer = self._losses(images, targets)
                ((task + settings.transfer_weight * transfer) / settings.accumulation).backward()  # type: ignore[no-untyped-call]
            found += torch.stack([task.detach(), transfer.detach()]) / settings.accumulation
        return found

    def _losses(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with computing(self._settings, images.device):
            output = self._model(images)
        log_probabilities = output.logits.float().log_softmax(-1)
        return -(targets * log_probabilities).sum(-1).mean(), output.transfer_loss.float()


def computing(settings: TrainSettings, device: torch.device) -> ExitStack:
    """The precision and the kind of attention that settings ask for, as a context."""
    stack = ExitStack()
    stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"))
    if settings.small_maps:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack


@torch.no_grad()
def predict(
    model: Any,
    pictures: Pictures,
    settings: TrainSettings,
    *,
    size: tuple[int, int],
    channels: int = 3,
    batch_size: int = 256,
) -> tuple[Tensor, Tensor]:
    """Logits ``(n, classes)`` and labels ``(n,)`` of pictures as they are; the model's mode is restored."""
    was_training = model.training
    device = next(model.parameters()).device
    logits, labels = [], []
    dataset: Dataset[tuple[Tensor, int]] = PlainPictures(pictures, size, channels)
    model.eval()
    try:
        for images, truth in DataLoader(dataset, batch_size=batch_size, num_workers=settings.workers):
            with computing(settings, device):
                logits.append(model(images.to(device)).logits.float().cpu())
            labels.append(truth)
    finally:
        model.train(was_training)
    return torch.cat(logits), torch.cat(labels)


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
    accelerator: Accelerator, out: Any, settings: TrainSettings, size: tuple[int, int], channels: int, classes: int
) -> tuple[RunFolder, Checkpoint | None]:
    """The main process makes the folder before the others read it."""
    config = {**asdict(settings), "size": list(size), "channels": channels, "classes": classes}
    with accelerator.main_process_first():
        run = RunFolder(out, config)
        return run, run.load_checkpoint()


def _tensors(student: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None) -> dict[str, Tensor]:
    tensors = {f"student.{name}": value for name, value in student.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.tensors.items()}
    return tensors


def _restore(
    checkpoint: Checkpoint | None, student: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None
) -> int:
    """Put a checkpoint into place; the first update that is still to be done."""
    if checkpoint is None:
        return 0
    parts: dict[str, dict[str, Tensor]] = {"student": {}, "optimizer": {}, "average": {}}
    for name, tensor in checkpoint.tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    student.load_state_dict(parts["student"])
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, key = name.partition(".")
        states.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    if average is not None:
        for name, tensor in parts["average"].items():
            average.tensors[name].copy_(tensor)
    return checkpoint.step
