"""A causal transformer over pixels, with a reader that keeps keys and values.

After Chen et al., *Generative Pretraining from Pixels* (ImageGPT), ICML 2020: blocks with normalization first, learned
places, one token a pixel. A token holds the pixel before, so a place sees itself and what is earlier.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_density.heads import levels_beside
from vl_density.models.density import AutoregressiveDensity


class ImageTransformer(AutoregressiveDensity):
    """Decoder-only transformer over the pixels of an image.

    Args:
        image_size: Height and width.
        channels: Channels of an image.
        levels: Gray values of a channel.
        head: `"categorical"`, `"logistic-mixture"` or `"bernoulli"`.
        head_options: Arguments of the head.
        num_classes: Number of classes to condition on; 0 for none.
        width: Features of a token.
        layers: Number of blocks.
        num_heads: Heads of attention; they divide `width`.
        dropout: Share of activations that training sets to zero.

    Example:
        >>> model = ImageTransformer(image_size=(8, 8), channels=1, levels=17, width=32, layers=2, num_heads=4)
        >>> model.sample(2).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        *,
        image_size: tuple[int, int],
        channels: int = 3,
        levels: int = 256,
        head: str = "categorical",
        head_options: dict[str, Any] | None = None,
        num_classes: int = 0,
        width: int = 128,
        layers: int = 6,
        num_heads: int = 4,
        dropout: float = 0.0,
    ):
        super().__init__(
            image_size=image_size,
            channels=channels,
            levels=levels,
            head=head,
            head_options=head_options,
            num_classes=num_classes,
        )
        if width % num_heads:
            raise ValueError(f"num_heads must divide width = {width}, got {num_heads}")
        height, columns = image_size
        # A row for each level of each channel: gray values need not act in proportion to their number.
        self.tokens = nn.Embedding(channels * levels, width)
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.row_places = nn.Parameter(torch.randn(height, 1, width) * 0.02)
        self.column_places = nn.Parameter(torch.randn(1, columns, width) * 0.02)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.classes = nn.Embedding(num_classes, width) if num_classes else None
        self.blocks: Any = nn.ModuleList(Block(width, num_heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, self.head.n_features)

    def features(self, pixels: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features of every pixel, ``(B, H, W, n_features)``."""
        before = self.embed(pixels.flatten(2).movedim(1, -1)[:, :-1])
        start = self.start.expand(len(pixels), 1, -1)
        hidden = torch.cat([start, before], 1)
        hidden = hidden + self.context(condition)[:, : hidden.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        found: Tensor = self.output(self.norm(hidden))
        return found.view(len(pixels), *pixels.shape[2:], -1)

    def cursor(self, count: int, condition: Tensor | None = None) -> TokenCursor:
        """Reader that keeps keys and values of every block."""
        return TokenCursor(self, count, condition)

    def embed(self, pixels: Tensor) -> Tensor:
        """Tokens of levels ``(..., C)``, ``(..., width)``; between levels, a mean of those beside."""
        first = torch.arange(self.channels, device=pixels.device) * self.levels
        if pixels.is_floating_point():
            below, above, share = levels_beside(pixels, self.levels)
            low, high = self.tokens(below + first), self.tokens(above + first)
            between: Tensor = (low + share[..., None] * (high - low)).sum(-2)
            return between
        found: Tensor = self.tokens(pixels + first)
        return found.sum(-2)

    def context(self, condition: Tensor | None) -> Tensor:
        """Places and class, ``(B or 1, H W, width)``."""
        places = (self.row_places + self.column_places).flatten(0, 1)[None]
        if self.classes is None or condition is None:
            return places
        shift: Tensor = self.classes(condition)
        return places + shift[:, None]


class Block(nn.Module):
    """Causal attention and two layers, each on normalized inputs and added to them."""

    def __init__(self, width: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """All tokens ``(B, N, width)`` a block on."""
        query, key, value = self.split(hidden)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=dropout)
        return self.finish(hidden, mixed)

    def split(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``(B, heads, N, width / heads)``."""
        together: Tensor = self.qkv(self.norm1(hidden))
        parts = together.view(*hidden.shape[:-1], 3, self.num_heads, -1)
        query, key, value = parts.movedim(-3, 0).transpose(-3, -2)
        return query, key, value

    def finish(self, hidden: Tensor, mixed: Tensor) -> Tensor:
        """Add what attention found, and the two layers after it."""
        hidden = hidden + F.dropout(self.projection(mixed.transpose(1, 2).flatten(2)), self.dropout, self.training)
        change: Tensor = self.mlp(self.norm2(hidden))
        return hidden + change


class TokenCursor:
    """Reader that computes one token a pixel, with the keys and values of those before."""

    def __init__(self, model: ImageTransformer, count: int, condition: Tensor | None):
        self._model = model
        self._context = model.context(condition)
        length = self._context.shape[1]
        weight = model.output.weight
        heads = model.blocks[0].num_heads if len(model.blocks) else 1
        shape = (count, heads, length, weight.shape[1] // heads)
        self._keys = [weight.new_empty(shape) for _ in model.blocks]
        self._values = [weight.new_empty(shape) for _ in model.blocks]
        self._token = model.start.expand(count, 1, -1)
        self._place = 0

    def features(self) -> Tensor:
        """Features of the present pixel, ``(B, n_features)``."""
        place, model = self._place, self._model
        hidden = self._token + self._context[:, place : place + 1]
        for block, keys, values in zip(model.blocks, self._keys, self._values, strict=True):
            query, keys[:, :, place : place + 1], values[:, :, place : place + 1] = block.split(hidden)
            seen = slice(0, place + 1)
            mixed = F.scaled_dot_product_attention(query, keys[:, :, seen], values[:, :, seen])
            hidden = block.finish(hidden, mixed)
        result: Tensor = model.output(model.norm(hidden))[:, 0]
        return result

    def push(self, pixels: Tensor) -> None:
        """Set the present pixel, and go to the next."""
        self._token = self._model.embed(pixels)[:, None]
        self._place += 1
