"""The last samples of a stream, in the blocks in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Block(NamedTuple):
    """Rows that came together."""

    rows: Tensor
    """Features ``(n, d)``."""
    views: int
    """Number q of views of each image, in consecutive rows; 0 for rows that are no views."""

    def images(self) -> Tensor | None:
        """Views ``(B, q, d)`` of the images of which no row was dropped; None if there are none."""
        count = len(self.rows) // self.views if self.views else 0
        return self.rows[-count * self.views :].reshape(count, self.views, -1) if count else None


class Recent:
    """The last rows of a stream, of a limited number.

    Blocks stay as they are, in states too, so that sums over them have the same bits after a resume.

    Args:
        limit: Number of rows.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.rows = 0
        self.blocks: deque[Block] = deque()

    def add(self, rows: Tensor, views: int = 0) -> None:
        """Keep a copy of rows ``(n, d)``, all on their device, and drop the oldest above the limit."""
        if not len(rows):
            return
        if self.blocks and self.blocks[-1].rows.device != rows.device:  # of a checkpoint, for example
            self.blocks = deque(block._replace(rows=block.rows.to(rows.device)) for block in self.blocks)
        self.blocks.append(Block(rows[-self.limit :].clone(), views))
        self.rows += len(self.blocks[-1].rows)
        while self.rows > self.limit:
            oldest, above = self.blocks.popleft(), self.rows - self.limit
            dropped = min(above, len(oldest.rows))
            self.rows -= dropped
            if dropped < len(oldest.rows):
                # A copy, since a slice would hold the memory of the whole.
                self.blocks.appendleft(oldest._replace(rows=oldest.rows[dropped:].clone()))

    def state_dict(self) -> dict[str, Tensor]:
        """All rows, oldest first, with number of rows and views of each block; nothing if there are none."""
        if not self.blocks:
            return {}
        sizes = torch.tensor([(len(block.rows), block.views) for block in self.blocks])
        return {"rows": torch.cat([block.rows for block in self.blocks]), "blocks": sizes}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what another one of this limit kept."""
        self.blocks.clear()
        self.rows = 0
        if state:
            sizes, views = state["blocks"].T.tolist()
            for rows, count in zip(torch.split(state["rows"], sizes), views, strict=True):
                self.add(rows, count)
