"""The time embedding of a DiT: that of the published network, or that of diffusers' class.

The published network (Peebles & Xie, 2023, https://arxiv.org/abs/2212.09748) embeds time t in cosines and sines of
``t / 10000^(i / half)``, i = 0 ... half - 1, and normalizes with an epsilon of 1e-6. ``DiTTransformer2DModel`` of
diffusers divides by ``half - 1``, and its second norm of each block takes ``norm_eps`` of the configuration, 1e-5 by
default. With the published weights the output is then another one; a model that was trained with diffusers needs what
diffusers computes.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, Literal

import torch
from torch import nn

from vl_diffusion.checks import TimestepEmbedding, checked_timestep_embedding

_EPS = 1e-6

# Layers, heads, width of a head, patch size, input and output channels of DiT-XL/2, whose weights are published.
_PUBLISHED = ("num_layers", "num_attention_heads", "attention_head_dim", "patch_size", "in_channels", "out_channels")
_XL_2 = (28, 16, 72, 2, 4, 8)


def choose(model: Any, asked: TimestepEmbedding) -> Literal["published", "diffusers"] | None:
    """The time embedding that a network was trained with.

    ``"auto"`` decides by the weights. In diffusers' class, every block has its own embedding of time and class, and
    training makes them differ; the published network has one, which the conversion to diffusers copies into each
    block. A network of several blocks whose embeddings are all equal is therefore taken for a converted one. Any other
    is evaluated as diffusers does; if it has the sizes of the published DiT-XL/2, such as after fine-tuning, a warning
    says so.

    Args:
        model: The network.
        asked: ``"auto"``, or the one to use.

    Returns:
        ``"published"`` or ``"diffusers"``; None for another network than a DiT, which has no such choice.

    Raises:
        ValueError: If `asked` is unknown, or the network is no DiT and `asked` is not ``"auto"``.
    """
    checked_timestep_embedding(asked)
    embeddings = _embeddings(model)
    if not embeddings:
        if asked != "auto":
            raise ValueError(
                f"timestep_embedding must be 'auto' for a {type(model).__name__}, got {asked!r}; only a DiT has another"
            )
        return None
    if asked != "auto":
        return asked
    if len(embeddings) > 1 and all(_equal(embeddings[0], other) for other in embeddings[1:]):
        return "published"
    if tuple(model.config.get(name) for name in _PUBLISHED) == _XL_2:
        warnings.warn(
            "this network has the sizes of the published DiT-XL/2, but embeddings that differ between blocks, as after "
            "training with diffusers, and is evaluated as diffusers does; pass timestep_embedding='published' or "
            "'diffusers' to choose",
            stacklevel=2,
        )
    return "diffusers"


def published(model: Any) -> Any:
    """The published network with the parameters of a DiT of diffusers.

    Args:
        model: A ``DiTTransformer2DModel``; it is not changed.

    Returns:
        A network of the same class with the same parameters and buffers, not copies.
    """
    tensors: dict[int, Any] = {id(value): value for value in (*model.parameters(), *model.buffers())}
    network = copy.deepcopy(model, tensors)
    for embedding in _embeddings(network):
        embedding.time_proj.downscale_freq_shift = 0
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = _EPS
    return network


def _embeddings(model: Any) -> list[Any]:
    """The embedding of time and class of every block; none for another network than a DiT."""
    blocks = getattr(model, "transformer_blocks", ())
    found = [getattr(getattr(block, "norm1", None), "emb", None) for block in blocks]
    return [emb for emb in found if hasattr(emb, "time_proj") and hasattr(emb, "class_embedder")]


@torch.no_grad()
def _equal(one: nn.Module, other: nn.Module) -> bool:
    """True if two modules have the same values."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    # Bytes, because some dtypes that weights are stored in cannot be compared.
    return all(a.shape == b.shape and a.dtype == b.dtype and torch.equal(_bytes(a), _bytes(b)) for a, b in pairs)


def _bytes(value: torch.Tensor) -> torch.Tensor:
    return value.detach().contiguous().view(torch.uint8)
