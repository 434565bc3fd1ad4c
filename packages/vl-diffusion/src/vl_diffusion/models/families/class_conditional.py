"""Class-conditional diffusers networks: ``DiTTransformer2DModel`` and ``UNet2DModel``, with or without a VAE."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vl_diffusion.checks import TimestepEmbedding
from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families._bare_network import BareNetwork
from vl_diffusion.models.families.timestep_embedding import choose, published
from vl_diffusion.models.schedule import NoiseSchedule


class ClassConditionalDenoiser(BareNetwork):
    """A class-conditional network with its schedule and optional autoencoder.

    Args:
        model: A ``DiTTransformer2DModel``, or a ``UNet2DModel`` built with ``num_class_embeds``.
        schedule: Its noise schedule.
        vae: The ``AutoencoderKL`` of a latent model; None for a pixel model.
        class_names: Names of the classes in label order, if known.
        timestep_embedding: For a DiT: ``"published"`` evaluates the published network (converted weights),
            ``"diffusers"`` what diffusers computes, and ``"auto"`` decides by the weights, see
            `vl_diffusion.models.families.timestep_embedding`.

    Attributes:
        timestep_embedding: The one that is used; None for another network than a DiT.

    Raises:
        ValueError: If the model is not class-conditional or not for square images, or has fewer classes than names.
    """

    def __init__(
        self,
        model: Any,
        schedule: NoiseSchedule,
        *,
        vae: Any | None = None,
        class_names: Sequence[str] | None = None,
        timestep_embedding: TimestepEmbedding = "auto",
    ) -> None:
        self.timestep_embedding = choose(model, timestep_embedding)
        super().__init__(published(model) if self.timestep_embedding == "published" else model, schedule, vae)
        self.num_classes = _num_classes(model)
        self.class_names = None if class_names is None else tuple(class_names)
        if self.class_names is not None and len(self.class_names) > self.num_classes:
            raise ValueError(
                f"class_names must be at most the model's {self.num_classes} classes, got {len(self.class_names)}"
            )
        self.image_channels = int(model.config.in_channels if vae is None else vae.config.in_channels)
        # A network with learned variance has twice the output channels, noise first.
        self.learns_variance = int(model.config.out_channels or 0) == 2 * int(model.config.in_channels)

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        """Label indices int64 ``(K,)`` of the named classes.

        Raises:
            ValueError: If a name is not a class of the model, or the model has no names and the number does not match.
        """
        if self.class_names is None:
            if len(classes) != self.num_classes:
                raise ValueError(
                    f"classes must list all {self.num_classes} classes in label order for a model without class names, "
                    f"got {len(classes)}"
                )
            return torch.arange(self.num_classes, device=self.device)
        return label_indices(classes, self.class_names).to(self.device)

    def encode_unconditional(self) -> Tensor:
        """The label for no class, int64 ``(1,)``: the index after the last class, used by DiT for label dropout.

        Raises:
            ValueError: If the network has no such label.
        """
        if _num_labels(self.model) != self.num_classes + 1:
            raise ValueError(f"model must have a label for no class, and this {type(self.model).__name__} has none")
        return torch.tensor([self.num_classes], device=self.device)

    def mix_conditions(self, condition: Condition, weights: Tensor) -> Tensor:
        """Mix classes: the network's label embeddings are summed with these weights.

        Args:
            condition: Output of `encode_classes`, ``(K,)``.
            weights: ``(B, K)``, differentiable.

        Returns:
            Soft labels ``(B, num_labels)`` for `predict`; one-hot weights are equivalent to class indices.
        """
        assert isinstance(condition, Tensor)
        num_labels = accept_soft_labels(self.model)
        return weights.new_zeros(len(weights), num_labels).index_add(1, condition, weights)

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        output: Tensor = self.model(x_t.to(self.model.dtype), timestep=time, class_labels=condition).sample
        return output


def label_indices(classes: Sequence[str], known: Sequence[str]) -> Tensor:
    """Indices of K class names among the known ones, int64 ``(K,)``.

    Raises:
        ValueError: If a name is unknown.
    """
    index = {name: i for i, name in reversed(list(enumerate(known)))}
    for name in classes:
        if name not in index:
            near = difflib.get_close_matches(name, known, 3) or list(known[:5])
            raise ValueError(f"classes must be among the model's {len(index)} ({', '.join(near)} ...), got {name!r}")
    return torch.tensor([index[name] for name in classes])


class SoftEmbedding(nn.Embedding):
    """An embedding that also accepts weights ``(B, num_embeddings)`` and then returns weighted sums of its rows."""

    @classmethod
    def over(cls, table: nn.Embedding) -> SoftEmbedding:
        """Wrap an embedding, sharing its parameter."""
        soft = cls(table.num_embeddings, table.embedding_dim, device="meta")
        soft.weight = table.weight
        return soft.train(table.training)

    def forward(self, labels: Tensor) -> Tensor:
        if not labels.is_floating_point():
            return super().forward(labels)
        return labels.to(self.weight.dtype) @ self.weight


def accept_soft_labels(model: Any) -> int:
    """Replace the label embeddings of a DiT or class-conditional ``UNet2DModel`` by `SoftEmbedding`, in place.

    The network then also accepts soft labels ``(B, num_labels)``. Its parameters, their names, and its output for
    integer labels do not change.

    Returns:
        Number of labels, including the one for no class.

    Raises:
        ValueError: If the network has no label embedding.
    """
    num_labels = 0
    for owner in list(model.modules()):
        for name, table in list(owner.named_children()):
            # DiT has an embedding in every block; UNet2DModel has one.
            if name not in ("embedding_table", "class_embedding") or not isinstance(table, nn.Embedding):
                continue
            if not isinstance(table, SoftEmbedding):
                setattr(owner, name, SoftEmbedding.over(table))
            num_labels = table.num_embeddings
    if not num_labels:
        raise ValueError(f"model must have a label embedding to mix classes, and this {type(model).__name__} has none")
    return num_labels


def _num_classes(model: Any) -> int:
    config = model.config
    count = getattr(config, "num_embeds_ada_norm", None) or getattr(config, "num_class_embeds", None)
    if not count:
        raise ValueError(
            f"model must be class-conditional, and this {type(model).__name__} was built without num_class_embeds"
        )
    return int(count)


def _num_labels(model: Any) -> int | None:
    """Number of label embeddings of a DiT; None for other networks."""
    table: Any = model
    for part in ("transformer_blocks", "0", "norm1", "emb", "class_embedder", "embedding_table"):
        table = getattr(table, part, None)
    return None if table is None else int(table.num_embeddings)
