"""Random problems whose pairs are not solved: a solved one has gradients near zero, which hide any error."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Positives = tuple[Tensor, Tensor]


class Problem(NamedTuple):
    """Leaves that take gradients, and ids."""

    images: Tensor
    texts: Tensor
    scale: Tensor
    bias: Tensor
    negatives: Tensor | None
    positives: Positives | None

    @property
    def options(self) -> dict[str, object]:
        """Keyword arguments of every loss."""
        return {"positives": self.positives, "negatives": self.negatives}

    def leaves(self, *, bias: bool) -> list[Tensor]:
        """Tensors that the loss is differentiated by."""
        leaves = [self.images, self.texts, self.scale, *([self.bias] if bias else [])]
        return leaves if self.negatives is None else [*leaves, self.negatives]


def make_problem(
    images: int = 11,
    texts: int = 11,
    negatives: int = 0,
    groups: int = 0,
    ids: int = 1,
    *,
    width: int = 5,
    scale: float = 7.0,
    dtype: torch.dtype = torch.float64,
) -> Problem:
    """Random features of unit length, and random groups if ``groups`` is not zero; images may have several ``ids``."""
    generator = torch.Generator().manual_seed(images + 100 * texts + negatives)

    def unit(rows: int) -> Tensor:
        return F.normalize(torch.randn(rows, width, generator=generator, dtype=dtype), dim=1).requires_grad_()

    if groups:
        image_ids, text_ids = (torch.randint(0, groups, (rows,), generator=generator) for rows in (images, texts))
        if ids > 1:  # with some rows that have fewer
            more = torch.randint(-1, groups, (images, ids - 1), generator=generator)
            image_ids = torch.cat([image_ids[:, None], more], dim=1)
    numbers = (torch.tensor(value, dtype=dtype, requires_grad=True) for value in (scale, -3.0))
    return Problem(
        unit(images),
        unit(texts),
        *numbers,
        unit(negatives) if negatives else None,
        (image_ids, text_ids) if groups else None,
    )


def assert_same(first: Tensor, second: Tensor, leaves: list[Tensor], tolerance: float) -> None:
    """Compare two losses and their gradients, with an upstream gradient that is not one."""
    found, expected = (torch.autograd.grad(loss * 3, leaves) for loss in (first, second))
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)
    for one, other in zip(found, expected, strict=True):
        assert other.abs().max() > 1e-3, "a solved problem shows nothing"
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)
