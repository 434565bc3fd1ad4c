"""Whether to adapt to a picture at all, and whether to keep what came of it: first, do no harm."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from vl_diffusion.adaptation.objectives import Context


class Gate(Protocol):
    """Decides for each picture."""

    def admits(self, context: Context) -> Tensor:
        """Which pictures to adapt to, bool ``(B,)``, before anything moves."""
        ...

    def keeps(self, context: Context, output: Tensor) -> Tensor:
        """Which outputs ``(B, ...)`` to keep after an update, bool ``(B,)``; the other pictures stop there."""
        ...
