"""Class-conditional networks that take a probability of each class in place of a class."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


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
