"""Models that take a class index: diffusers' ``DiTTransformer2DModel`` and ``UNet2DModel``, with or without a VAE."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families._bare_network import BareNetwork
from vl_diffusion.models.schedule import NoiseSchedule


class ClassConditionalDenoiser(BareNetwork):
    """A class-conditional network, its schedule, and its autoencoder if it has one.

    Args:
        model: A ``DiTTransformer2DModel``, or a ``UNet2DModel`` built with ``num_class_embeds``.
        schedule: Its noise schedule.
        vae: The ``AutoencoderKL`` of a latent model; None for a model of pixels.
        class_names: Names of the classes in label order, where they are known.

    Raises:
        ValueError: If the model takes no class, is not for square images, or the names do not fit its number of
            classes.
    """

    def __init__(
        self, model: Any, schedule: NoiseSchedule, *, vae: Any | None = None, class_names: Sequence[str] | None = None
    ) -> None:
        super().__init__(model, schedule, vae)
        self.num_classes = _num_classes(model)
        self.class_names = None if class_names is None else tuple(class_names)
        if self.class_names is not None and len(self.class_names) > self.num_classes:
            raise ValueError(f"{len(self.class_names)} class names for a model of {self.num_classes} classes")
        self.image_channels = int(model.config.in_channels if vae is None else vae.config.in_channels)
        # Such a network has twice the channels, the noise first.
        self.learns_variance = int(model.config.out_channels or 0) == 2 * int(model.config.in_channels)

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        """Label indices int64 ``(K,)`` of the named classes.

        Raises:
            ValueError: If a name is not one of the model's, or the model has no names and the count does not fit.
        """
        if self.class_names is None:
            if len(classes) != self.num_classes:
                raise ValueError(
                    f"the model does not name its {self.num_classes} classes: classes must list them all in label "
                    f"order, got {len(classes)}"
                )
            return torch.arange(self.num_classes, device=self.device)
        return label_indices(classes, self.class_names).to(self.device)

    def encode_unconditional(self) -> Tensor:
        """The label behind the classes, int64 ``(1,)``, which DiT was trained with in place of a class now and then.

        Raises:
            ValueError: If the network has no such label.
        """
        if _num_labels(self.model) != self.num_classes + 1:
            raise ValueError(f"this {type(self.model).__name__} was built without a label for no class")
        return torch.tensor([self.num_classes], device=self.device)

    def mix_conditions(self, condition: Condition, weights: Tensor) -> Tensor:
        """Classes in proportions: the network's embeddings of labels are summed with these weights.

        Args:
            condition: What `encode_classes` gave, ``(K,)``.
            weights: ``(B, K)``, differentiable.

        Returns:
            Float labels ``(B, labels)``, which `predict` takes; one-hot weights stand for the classes themselves.
        """
        assert isinstance(condition, Tensor)
        labels = accept_soft_labels(self.model)
        return weights.new_zeros(len(weights), labels).index_add(1, condition, weights)

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        output: Tensor = self.model(x_t.to(self.model.dtype), timestep=time, class_labels=condition).sample
        return output


def label_indices(classes: Sequence[str], known: Sequence[str]) -> Tensor:
    """Where each of the K names stands among those that a model knows, int64 ``(K,)``.

    Raises:
        ValueError: If a name is not one of the model's.
    """
    index = {name: i for i, name in reversed(list(enumerate(known)))}
    for name in classes:
        if name not in index:
            near = difflib.get_close_matches(name, known, 3) or list(known[:5])
            raise ValueError(f"class {name!r} is not one of the model's {len(index)}; it knows {', '.join(near)} ...")
    return torch.tensor([index[name] for name in classes])


class SoftEmbedding(nn.Embedding):
    """A table of labels that also takes float weights ``(B, rows)``, and then gives the weighted sum of its rows."""

    @classmethod
    def over(cls, table: nn.Embedding) -> SoftEmbedding:
        """The same table, holding the very same parameter."""
        soft = cls(table.num_embeddings, table.embedding_dim, device="meta")
        soft.weight = table.weight
        return soft.train(table.training)

    def forward(self, labels: Tensor) -> Tensor:
        if not labels.is_floating_point():
            return super().forward(labels)
        return labels.to(self.weight.dtype) @ self.weight


def accept_soft_labels(model: Any) -> int:
    """Have a DiT or a class-conditional ``UNet2DModel`` take float labels ``(B, labels)`` as well: `SoftEmbedding`.

    Its parameters, their names, and what it makes of integer labels stay as they are.

    Returns:
        The number of labels that its tables hold, the one for no class included.

    Raises:
        ValueError: If the network looks no label up in a table.
    """
    labels = 0
    for owner in list(model.modules()):
        for name, table in list(owner.named_children()):
            # DiT has such a table in every block; UNet2DModel has one.
            if name not in ("embedding_table", "class_embedding") or not isinstance(table, nn.Embedding):
                continue
            if not isinstance(table, SoftEmbedding):
                setattr(owner, name, SoftEmbedding.over(table))
            labels = table.num_embeddings
    if not labels:
        raise ValueError(f"this {type(model).__name__} looks no class up in a table, so classes cannot be mixed")
    return labels


def _num_classes(model: Any) -> int:
    config = model.config
    count = getattr(config, "num_embeds_ada_norm", None) or getattr(config, "num_class_embeds", None)
    if not count:
        raise ValueError(f"{type(model).__name__} takes no class: it was built without num_class_embeds")
    return int(count)


def _num_labels(model: Any) -> int | None:
    """Rows of a DiT's table of labels; None for a network that keeps none of that kind."""
    table: Any = model
    for part in ("transformer_blocks", "0", "norm1", "emb", "class_embedder", "embedding_table"):
        table = getattr(table, part, None)
    return None if table is None else int(table.num_embeddings)
