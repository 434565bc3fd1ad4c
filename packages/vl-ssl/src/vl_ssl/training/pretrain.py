"""Pre-training of a method's backbone on images without labels."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import default_collate
from vl_core.runs.processes import current_process
from vl_core.training import Stateful, fit

from vl_ssl.augmentation.recipes import Augmentation, mocov2_recipe, small_recipe
from vl_ssl.methods.batch_norm import synchronize_batch_norm
from vl_ssl.methods.method import SiameseMethod, SiameseOutput
from vl_ssl.optimizers.building import build_optimizer
from vl_ssl.schedules.chunks import MultiEpoch
from vl_ssl.schedules.hybrid import Hybrid
from vl_ssl.schedules.schedule import Samples, Schedule
from vl_ssl.training.identity import run_config
from vl_ssl.training.images import ImagesInOrder, PairAugmentation, Views, image_of
from vl_ssl.training.settings import PretrainSettings
from vl_ssl.training.watching import Monitor, Probe, Watch

_logger = logging.getLogger(__name__)


def pretrain(
    method: SiameseMethod,
    dataset: Tensor | Samples,
    settings: PretrainSettings,
    out: str | os.PathLike[str],
    *,
    schedule: Schedule | None = None,
    augmentation: PairAugmentation | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    monitor: Monitor | None = None,
    probe: Probe | None = None,
    probe_every: int = 500,
    channels: int | None = None,
    checkpoint_every: int = 500,
    log_every: int = 50,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> None:
    """Train a method in place on images, labels unseen; rerun with the same arguments to resume.

    A resumed run ends with exactly the weights, the state of schedule and monitor, and the metrics of an uninterrupted
    one, wherever it was killed. On several processes (``accelerate launch``, ``torchrun``) batch normalization is
    synchronized, and an update is that of one process with the whole batch. Momentum encoders move once an update,
    however many passes it has.

    Metrics, every ``log_every`` updates: ``loss``, its mean over the update; ``learning_rate`` of what does not keep a
    constant one; ``epoch``, positions seen over those of an epoch; ``switched`` under a `Hybrid`, 1 from its switch
    on; those of monitor and probe.

    Args:
        method: Method with its backbone, such as `SimSiam`.
        dataset: Images in memory, uint8 or floating point in [0, 1] ``(N, C, H, W)``; or a data set of images, with
            labels or without, as `vl_core.data.open_dataset` gives.
        settings: How to train; `simsiam_pretraining`, `byol_pretraining`, `moco_v3_pretraining` and
            `small_pretraining` return some.
        out: Folder of the run: settings, metrics, TensorBoard events, checkpoint.
        schedule: Which image each position of the run shows; by default all in each epoch (`MultiEpoch`). It begins
            anew, or where the checkpoint is.
        augmentation: Two views of each image; by default `small_recipe` or, above 32 pixels, `mocov2_recipe`, at the
            size of the first image's shorter side, at most 224.
        optimizer: Over ``method.parameter_groups``; by default as the settings say. Its learning rates are set by the
            settings in any case, times ``lr_scale`` of a group.
        monitor: Follows each update, and may ask for the switch of a `Hybrid` schedule. It begins anew, or where the
            checkpoint is. One with ``describe()``, as `CollapseMonitor` has it, must be of the same arguments when a
            run is resumed.
        probe: Evaluates the method on the way, in the main process; from method and update to numbers by name.
        probe_every: Updates between its evaluations, a multiple of ``log_every``; there is one at the end in any case.
        channels: 1 or 3 converts PIL images to gray or color; None takes the kind of the first image.
        checkpoint_every: Largest number of updates between checkpoints; there is one a minute in any case.
        log_every: Updates between rows of metrics.
        config: What else makes the run what it is, kept in its folder.
        progress: Show a progress bar.

    Raises:
        TypeError: If the data set gives something other than images, alone or with a label.
        ValueError: If floating-point images leave [0, 1], data set, schedule and settings do not go together, the loss
            or a weight is not finite, or the folder holds another run; the message names what differs.

    Example:
        >>> method = SimSiam(timm.create_model("resnet18", num_classes=0))
        >>> pretrain(method, open_dataset("photos"), simsiam_pretraining(), "runs/photos")
        >>> backbone = method.export()
    """
    size = len(dataset)
    schedule = MultiEpoch(max(1, size), settings.epochs, seed=settings.seed) if schedule is None else schedule
    if schedule.epochs != settings.epochs:
        raise ValueError(f"schedule must have the {settings.epochs} epochs of the settings, got {schedule.epochs}")
    if probe is not None and (probe_every < 1 or probe_every % log_every):
        raise ValueError(f"probe_every must be a multiple of log_every, {log_every}, got {probe_every}")
    augmentation = _default_augmentation(dataset) if augmentation is None else augmentation
    on_device = settings.augment_on == "device" or (settings.augment_on == "auto" and isinstance(dataset, Tensor))
    make_views = None if on_device else augmentation.per_image(settings.seed)
    images = ImagesInOrder(dataset, schedule, channels=channels, make_views=make_views)
    run = _Run(method, settings, schedule, augmentation if on_device else None, monitor, probe, probe_every)
    if current_process().count > 1:
        synchronize_batch_norm(method)
    optimizer = _optimizer(method, settings) if optimizer is None else optimizer
    # A checkpoint says how far the run is, not an earlier run with the same objects.
    schedule.reset()
    if (reset := getattr(monitor, "reset", None)) is not None:
        reset()
    fit(
        method,
        images,
        run.loss,
        settings.loop(schedule.length),
        out,
        optimizer=optimizer,
        after_update=run.after_update,
        more_metrics=run.metrics,
        state=run.state(),
        config={
            **run_config(
                method,
                dataset,
                settings,
                schedule=schedule,
                augmentation=augmentation,
                on_device=on_device,
                optimizer=optimizer,
                monitor=monitor,
            ),
            **(config or {}),
        },
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        progress=progress,
        description="pre-train",
        find_unused=current_process().count > 1 and _has_unused(method, images, run),
    )


class _Run:
    """Callbacks of a run, in and after its updates."""

    def __init__(
        self,
        method: SiameseMethod,
        settings: PretrainSettings,
        schedule: Schedule,
        augmentation: PairAugmentation | None,
        monitor: Monitor | None,
        probe: Probe | None,
        probe_every: int,
    ):
        self._method, self._settings, self._schedule = method, settings, schedule
        self._augmentation, self._monitor, self._probe, self._probe_every = augmentation, monitor, probe, probe_every
        self._watch = Watch(monitor)
        self._updates = settings.loop(schedule.length).updates

    def views(self, batch: list[Tensor]) -> Views:
        """Two views of a batch on its device."""
        first, second = batch
        if self._augmentation is None:
            return first, second
        with torch.autocast(first.device.type, enabled=False):
            return self._augmentation.batched(first, second, seed=self._settings.seed)

    def loss(self, model: nn.Module, batch: list[Tensor], number: int) -> Tensor:
        output: SiameseOutput = model(*self.views(batch))
        self._watch.add(output)
        return output.loss

    def after_update(self, update: int, weights: Mapping[str, Tensor]) -> bool:
        """Move the momentum encoder and the position; show the update to the monitor; return True for a switch."""
        self._method.after_update(update, self._updates)
        self._schedule.position = (update + 1) * self._settings.batch_size
        if not self._watch.update(update):
            return False
        if isinstance(self._schedule, Hybrid):
            return self._schedule.switch(self._schedule.position)
        _logger.warning("update %d: the monitor asks for a switch, but %s has none", update, self._schedule.describe())
        return False

    def metrics(self, update: int) -> dict[str, float]:
        """Columns beside loss and learning rate, after an update."""
        found: dict[str, float] = {"epoch": self._schedule.position / self._schedule.length}
        if isinstance(self._schedule, Hybrid):
            switched = self._schedule.switched_at
            found["switched"] = int(switched is not None and switched <= self._schedule.position)
        found |= self._watch.metrics()
        if self._probe is not None and ((update + 1) % self._probe_every == 0 or update + 1 == self._updates):
            found |= self._probe(self._method, update)
        return found

    def state(self) -> dict[str, Stateful]:
        """Objects that belong to checkpoints beside the method."""
        return {"schedule": self._schedule, **({} if self._monitor is None else {"monitor": self._monitor})}


def _optimizer(method: SiameseMethod, settings: PretrainSettings) -> torch.optim.Optimizer:
    return build_optimizer(
        settings.optimizer,
        method.parameter_groups(settings.weight_decay),
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        betas=settings.betas,
    )


def _default_augmentation(dataset: Tensor | Samples) -> Augmentation:
    """A recipe by the size of the first image."""
    if not len(dataset):
        raise ValueError("dataset must hold at least two images, got none; batch statistics need two")
    image = image_of(dataset[0])
    side = min(image.size) if isinstance(image, Image.Image) else min(image.shape[-2:])
    return small_recipe(side) if side <= 32 else mocov2_recipe(min(side, 224))


def _has_unused(method: SiameseMethod, images: ImagesInOrder, run: _Run) -> bool:
    """True if a weight takes no part in the loss, such as those of outputs that nothing reads."""
    tried = copy.deepcopy(method).train()
    device = next(method.parameters()).device
    tried(*run.views([part.to(device) for part in default_collate([images[0], images[1]])])).loss.backward()
    return any(parameter.requires_grad and parameter.grad is None for parameter in tried.parameters())
