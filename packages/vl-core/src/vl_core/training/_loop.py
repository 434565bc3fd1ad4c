"""The loop that trains, on any number of processes, and resumes exactly.

Everything random is a function of the seed and the place in the run, so that an interrupted run, started again, ends in
the same weights. The number of workers may change on the way and changes nothing. A checkpoint holds what is trained,
its EMA and the state of the optimizer, and of objects that are named as state; never a frozen teacher beside it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset

from vl_core._extras import import_extra
from vl_core.progress import progress_bar
from vl_core.runs import Checkpoint, RunFolder
from vl_core.training._checkpoints import Stateful, checkpoint_parts, restore
from vl_core.training._ema import WeightEMA
from vl_core.training._order import ResumableBatchSampler
from vl_core.training._settings import Precision, TrainingSettings

CHECKPOINT_SECONDS = 60.0
"""Checkpoints are no further apart, however long an update takes."""

# Settings of how the work is done, which may change when a run is resumed.
_FREE = ("workers",)

Loss: TypeAlias = Callable[[nn.Module, Any, int], Tensor | Mapping[str, Tensor]]
"""From the model (wrapped, where several processes share the work), a batch on its device, and the number of the pass
in the run, counted over all processes, to the loss, or to scalars by name of which ``"loss"`` is minimized; all are
logged. Draw random numbers from the number of the pass, or from PyTorch's generator, which is seeded by it."""


class StopTraining(RuntimeError):
    """Raised by ``after_update`` in all processes to end a run early: `fit` keeps the update, then raises it again."""


def fit(
    model: nn.Module,
    dataset: Dataset[Any],
    loss: Loss,
    settings: TrainingSettings,
    out: str | os.PathLike[str],
    *,
    trained: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    after_update: Callable[[int, Mapping[str, Tensor]], bool | None] | None = None,
    more_metrics: Callable[[int], Mapping[str, Any]] | None = None,
    state: Mapping[str, Stateful] | None = None,
    config: Mapping[str, Any] | None = None,
    checkpoint_every: int = 500,
    log_every: int = 50,
    progress: bool = True,
    description: str = "train",
    training_mode: bool = True,
    find_unused: bool = False,
) -> None:
    """Minimize a loss over a model in place; rerun with the same arguments to resume.

    One call works in one process, and under ``accelerate launch`` or ``torchrun`` in many: each then computes its share
    of an update, and the result is that of one process up to rounding. A model with batch statistics is to be converted
    by ``nn.SyncBatchNorm.convert_sync_batchnorm`` for that.

    Args:
        model: What the loss calls; moved to the device and put into training mode.
        dataset: Sample at each place of the run, for any place; see `Shuffled`.
        loss: From model, batch and number of the pass to the loss, see `Loss`.
        settings: How to train.
        out: Folder of the run: configuration, metrics, TensorBoard events, checkpoint.
        trained: The part of the model whose weights are kept in checkpoints and averaged, where that is not all of it,
            or the model itself where ``model`` is its compiled form.
        optimizer: Over parameters of ``trained``; its rates are set by the settings, times ``lr_scale`` of a group. A
            group with a true ``constant_rate`` keeps the peak. Default: AdamW over all that require a gradient.
        after_update: Called after each step of the optimizer with the number of the update, from 0, and the weights as
            they would be at the end (EMA in place): for momentum encoders, validations, and the like. What it changes
            in ``trained`` is part of checkpoints. If it returns True, the data set answers differently from the next
            update on: what workers have read ahead is dropped and read anew. It has to return the same in all
            processes. If it raises `StopTraining`, there is a row of metrics where one is due, and a checkpoint, from
            which the run can go on.
        more_metrics: From the number of an update whose row of metrics is due to more of its columns; called after
            ``after_update``, in the main process alone.
        state: What else belongs to checkpoints, by name: objects with ``state_dict`` and ``load_state_dict``, such as
            schedules and meters; see `Stateful`. Of several processes, the main one's is kept and all of them load it.
        config: What else makes the run what it is; kept in the folder beside the settings, and compared on resume.
        checkpoint_every: Largest number of updates between checkpoints; there is one a minute in any case.
        log_every: Updates between rows of metrics.
        progress: Whether a progress bar is shown.
        description: Its label.
        training_mode: Whether ``model.train()`` is called; false leaves each module's mode as it is.
        find_unused: Whether some parameters may take no part in the loss; needed for several processes only.

    Raises:
        ModuleNotFoundError: If the extra ``vl-core[training]`` is not installed.
        StopTraining: If ``after_update`` does.
        ValueError: If a batch cannot be divided among processes and passes, the loss or a weight is not finite, the
            loss is no scalar, or the folder's run had other settings or other names of state.
        TypeError: If a state dict holds what a checkpoint cannot keep.
    """
    if checkpoint_every < 1 or log_every < 1:
        raise ValueError(f"checkpoint_every and log_every must be at least 1, got {checkpoint_every} and {log_every}")
    trained = model if trained is None else trained
    state = {} if state is None else state
    with ExitStack() as stack:
        accelerator = stack.enter_context(_accelerator(find_unused))
        ranks = accelerator.process_index, accelerator.num_processes
        sampler = ResumableBatchSampler(0, settings.updates, settings.batch_size, settings.accumulation, *ranks)
        model.to(accelerator.device)
        if training_mode:
            model.train()
        optimizer = _adamw(trained, settings) if optimizer is None else optimizer
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        ema = WeightEMA(trained, settings.ema_decay) if settings.ema_decay else None
        stack.enter_context(torch.random.fork_rng())
        run, checkpoint = _open_run(accelerator, out, _config(settings, trained, config or {}))
        if accelerator.is_main_process:
            stack.enter_context(run)
        sampler.first = first = restore(checkpoint, trained, optimizer, ema, state)
        loader = DataLoader(dataset, batch_sampler=sampler, num_workers=settings.workers)
        passes = iter(loader)
        step = _Step(accelerator, accelerator.prepare_model(model), loss, settings)
        saved = time.monotonic()
        shown = progress and accelerator.is_main_process
        bar = progress_bar(range(first, settings.updates), initial=first, total=settings.updates, desc=description,
                   mininterval=1, disable=not shown)  # fmt: skip
        for update in bar:
            rate = _set_rates(optimizer, settings, update)
            found = step(passes, update)
            if settings.max_grad_norm:
                nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            if ema is not None:
                ema.update(trained, update)
            last = update + 1 == settings.updates
            changed, stop = False, None
            if after_update is not None:
                weights = trained.state_dict() if ema is None else ema.state_dict(trained)
                try:
                    changed = bool(after_update(update, weights))
                except StopTraining as error:
                    stop = error
                if changed and not last:
                    sampler.first = update + 1
                    del passes  # ends its workers before others start
                    passes = iter(loader)
            if (update + 1) % log_every == 0 or last:
                row = {name: accelerator.reduce(value, "mean").item() for name, value in found.items()}
                _check_finite(row, update)
                if accelerator.is_main_process:
                    more = {} if more_metrics is None else more_metrics(update)
                    run.log(update, **{**row, "learning_rate": rate, **more})
                bar.set_postfix({name: f"{value:.3f}" for name, value in row.items()})
            due = (update + 1) % checkpoint_every == 0 or last or stop is not None
            if due or time.monotonic() - saved >= CHECKPOINT_SECONDS:
                _check_weights(trained, update)
                if accelerator.is_main_process:
                    run.save_checkpoint(update + 1, *checkpoint_parts(trained, optimizer, ema, state))
                saved = time.monotonic()
            if stop is not None:
                raise stop
        accelerator.wait_for_everyone()
    if ema is not None:
        ema.copy_to(trained)


class _Step:
    """Forward and backward passes of one update."""

    def __init__(self, accelerator: Any, model: nn.Module, loss: Loss, settings: TrainingSettings):
        self._accelerator, self._model, self._loss, self._settings = accelerator, model, loss, settings

    def __call__(self, passes: Iterator[Any], update: int) -> dict[str, Tensor]:
        """Leave gradients in the model; return the mean losses of this process."""
        accelerator, settings = self._accelerator, self._settings
        sums: dict[str, Tensor] = {}
        for index in range(settings.accumulation):
            number = (update * settings.accumulation + index) * accelerator.num_processes + accelerator.process_index
            batch = _to_device(next(passes), accelerator.device)
            torch.manual_seed((settings.seed * 1_000_003 + number) % 2**63)  # stochastic depth, dropout, masks
            with ExitStack() as stack:
                if index + 1 < settings.accumulation:
                    stack.enter_context(accelerator.no_sync(self._model))
                with computing(settings.precision, accelerator.device, math_attention=settings.math_attention):
                    found = _named(self._loss(self._model, batch, number))
                (found["loss"] / settings.accumulation).backward()  # type: ignore[no-untyped-call]
            for name, value in found.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / settings.accumulation
        return sums


def computing(precision: Precision, device: torch.device, *, math_attention: bool = False) -> ExitStack:
    """Return a context of this precision and kind of attention, as `fit` uses it around the loss."""
    stack = ExitStack()
    stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"))
    if math_attention:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack


@contextmanager
def _accelerator(find_unused: bool) -> Iterator[Any]:
    """Yield an accelerator that, in a single process, leaves no state behind for the caller's own."""
    accelerate = import_extra("accelerate", "training")
    state = import_extra("accelerate.state", "training")
    was_there = bool(state.PartialState._shared_state)
    accelerator = accelerate.Accelerator(
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[accelerate.DistributedDataParallelKwargs(find_unused_parameters=find_unused)],
    )
    try:
        yield accelerator
    finally:
        if not was_there and accelerator.num_processes == 1:
            state.AcceleratorState._reset_state(reset_partial_state=True)
            state.GradientState._reset_state()


def _set_rates(optimizer: torch.optim.Optimizer, settings: TrainingSettings, update: int) -> float:
    """Set the rates of an update; return the largest that moves, or of all where none does."""
    rate = settings.learning_rate_at(update)
    moving: list[float] = []
    constant: list[float] = []
    for group in optimizer.param_groups:
        kept = group.get("constant_rate", False)
        group["lr"] = (settings.learning_rate if kept else rate) * group.get("lr_scale", 1.0)
        (constant if kept else moving).append(float(group["lr"]))
    return max(moving or constant)


def _adamw(trained: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        parameters, settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
    )


def _config(settings: TrainingSettings, trained: nn.Module, config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(settings).items() if name not in _FREE}
    frozen = sorted(name for name, parameter in trained.named_parameters() if not parameter.requires_grad)
    return {**kept, "frozen": frozen, **config}


def _open_run(
    accelerator: Any, out: str | os.PathLike[str], config: Mapping[str, Any]
) -> tuple[RunFolder, Checkpoint | None]:
    """Open the folder, in the main process before the others read it."""
    with accelerator.main_process_first():
        run = RunFolder(out, config)
        return run, run.load_checkpoint()


def _to_device(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: _to_device(value, device) for name, value in batch.items()}
    return [_to_device(value, device) for value in batch] if isinstance(batch, list | tuple) else batch


def _named(found: Tensor | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    named = {"loss": found} if isinstance(found, Tensor) else found
    if "loss" not in named or any(value.numel() != 1 for value in named.values()):
        got = {name: tuple(value.shape) for name, value in named.items()}
        raise ValueError(f"loss must return a scalar, or scalars by name with 'loss' among them, got shapes {got}")
    return named


def _check_finite(row: Mapping[str, float], update: int) -> None:
    if not all(math.isfinite(value) for value in row.values()):
        raise ValueError(f"the loss is not finite at update {update} ({row}); {_ADVICE}")


def _check_weights(trained: nn.Module, update: int) -> None:
    """Raise rather than save what is not finite; a weight that once was NaN stays it, and makes its average NaN."""
    weights = {name: p for name, p in trained.named_parameters() if p.requires_grad and p.numel()}
    if not weights:
        return
    with torch.no_grad():
        finite = torch.stack(torch._foreach_norm(list(weights.values()), math.inf)).isfinite()
    if not finite.all():
        first = next(name for name, fine in zip(weights, finite.tolist(), strict=True) if not fine)
        raise ValueError(f"the weight {first} is not finite after update {update}; {_ADVICE}")


_ADVICE = "lower the learning rate, or train with precision='float32'; the last checkpoint, if there is one, is intact"
