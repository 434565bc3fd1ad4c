"""Contrastive training of a dual encoder, in the loop of vl_core: any number of processes, exact resume."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from vl_core.runs.processes import current_process
from vl_core.training import fit

from vl_vlm.captions.captioned import CaptionedImages
from vl_vlm.losses.info_nce import info_nce
from vl_vlm.losses.sigmoid import sigmoid_loss
from vl_vlm.models.dual_encoder import DualEncoder
from vl_vlm.models.sub_batches import check_batch_statistics
from vl_vlm.training.pairs import CaptionPairs, Pair, captions_digest, known_positives, trimmed, weights_layout
from vl_vlm.training.settings import ContrastiveSettings

# Settings that change no weight, and may change when a run is resumed.
_FREE = ("workers", "sub_batch")


class ContrastiveObjective(nn.Module):
    """The loss of a dual encoder on a batch, which with several processes is that of all of them together.

    Args:
        model: The model; its ``loss`` says which one.
        max_scale: Largest scale; 0 for no limit.
        sub_batch: Images and texts whose activations are in memory at a time; 0 for all.
    """

    def __init__(self, model: DualEncoder, *, max_scale: float = 100.0, sub_batch: int = 0):
        super().__init__()
        self.model, self.max_scale, self.sub_batch = model, max_scale, sub_batch

    def forward(self, batch: Pair) -> dict[str, Tensor]:
        """``loss`` in nats, ``scale``, and ``bias`` where the model has one."""
        model = self.model
        images, input_ids, mask, image_ids, text_ids = batch
        if model.towers.fixed_length:
            tokens: tuple[Tensor, ...] = (input_ids,)
        else:
            tokens = trimmed(input_ids, mask)
        features, texts = model(images, *tokens, sub_batch=self.sub_batch)
        if self.max_scale:
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(self.max_scale))
        shared = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        group = dist.group.WORLD if shared else None
        positives = (image_ids, text_ids) if shared else known_positives(image_ids, text_ids)
        scale = model.logit_scale.exp()
        if model.logit_bias is None:
            loss = info_nce(features, texts, scale, positives=positives, group=group, check=False)
            return {"loss": loss, "scale": scale.detach()}
        bias = model.logit_bias
        loss = sigmoid_loss(features, texts, scale, bias, positives=positives, group=group, check=False)
        return {"loss": loss, "scale": scale.detach(), "bias": bias.detach()}


def train_dual_encoder(
    model: DualEncoder,
    dataset: CaptionedImages,
    settings: ContrastiveSettings,
    out: str | os.PathLike[str],
    *,
    checkpoint_every: int = 500,
    log_every: int = 50,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> None:
    """Train a dual encoder in place; rerun with the same arguments to resume.

    A resumed run ends with exactly the weights of an uninterrupted one. An update is that of its whole batch, whatever
    the number of processes and the size of sub-batches. Captions that are known to be true of an image, because they
    are its own or equal one of its own, are never its negatives.

    Metrics, every ``log_every`` updates: ``loss`` in nats; ``scale``, and ``bias`` with the sigmoid loss;
    ``learning_rate``.

    Args:
        model: The model, trained in float32 on the device that accelerate chooses.
        dataset: Images with captions; see `open_captions`. A run knows them again by names and captions.
        settings: How to train; `clip_recipe`, `siglip_recipe`, `lit_recipe` and `small_recipe` return some.
        out: Folder of the run: settings, metrics, TensorBoard events, checkpoint.
        checkpoint_every: Largest number of updates between checkpoints; there is one a minute in any case.
        log_every: Updates between rows of metrics.
        config: What else makes the run what it is, kept in its folder.
        progress: Show a progress bar.

    Raises:
        ValueError: If there are fewer than two images, a module computes statistics of a sub-batch, the loss or a
            weight is not finite, or the folder holds another run.

    Example:
        >>> train_dual_encoder(model, open_captions("photos"), small_recipe(), "runs/photos")
    """
    if settings.lock_image:
        model.lock_image()
    if settings.sub_batch:
        model.train()
        check_batch_statistics(model)
    kept = {name: value for name, value in asdict(settings).items() if name not in _FREE}
    pairs = CaptionPairs(dataset, model, settings)
    fit(
        ContrastiveObjective(model, max_scale=settings.max_scale, sub_batch=settings.sub_batch),
        pairs,
        lambda objective, batch, number: objective(batch),
        settings.loop(),
        out,
        trained=model,
        optimizer=_adamw(model, settings),
        config={
            "contrastive": kept,
            "loss": model.loss,
            "weights": weights_layout(model),
            "image_size": model.image_size,
            "context_length": model.context_length,
            "images": len(dataset),
            "captions": captions_digest(dataset),
            **(config or {}),
        },
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        progress=progress,
        description="train a dual encoder",
        find_unused=current_process().count > 1 and _has_unused(model, pairs),
    )


def _has_unused(model: DualEncoder, pairs: CaptionPairs) -> bool:
    """True if a weight takes no part in the loss, such as those of outputs that nothing reads."""
    training = model.training
    batch = Pair(*(torch.stack(values).to(model.device) for values in zip(pairs[0], pairs[1], strict=True)))
    ContrastiveObjective(model.eval())(batch)["loss"].backward()
    unused = any(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    model.zero_grad()
    model.train(training)
    return unused


def _adamw(model: nn.Module, settings: ContrastiveSettings) -> torch.optim.Optimizer:
    """AdamW with weight decay of matrices alone."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if (p.ndim > 1) == decays], "weight_decay": settings.weight_decay * decays}
        for decays in (True, False)
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
