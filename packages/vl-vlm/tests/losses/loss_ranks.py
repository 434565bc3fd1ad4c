"""One process of several that share a batch: losses and gradients after the averaging of DistributedDataParallel.

Each rank writes its losses and its averaged gradients to a folder; `test_ring.py` compares them.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from vl_vlm import InfoNCELoss, SigmoidLoss

CASES = [f"{loss}-{kind}" for loss in ("info_nce", "sigmoid") for kind in ("pairs", "negatives", "groups")]
IMAGES = (3, 6, 2, 5)
"""Images of each rank; ranks differ on purpose."""
TEXTS = {"pairs": (3, 6, 2, 5), "negatives": (3, 6, 2, 5), "groups": (4, 5, 3, 7)}
NEGATIVES = {"pairs": (0, 0, 0, 0), "negatives": (2, 1, 3, 4), "groups": (1, 0, 2, 2)}


class Towers(nn.Module):
    """Linear towers and a loss, as one module that DistributedDataParallel wraps."""

    def __init__(self, loss: nn.Module):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = nn.Linear(6, 4), nn.Linear(7, 4)
        self.loss = loss

    def forward(self, images, texts, negatives, positives) -> Tensor:
        """Loss of what the towers see."""
        negatives = self.text(negatives) if len(negatives) else None
        return self.loss(self.image(images), self.text(texts), negatives=negatives, positives=positives)


def make_loss(case: str, group: dist.ProcessGroup | None) -> nn.Module:
    """The loss of a case, such as ``info_nce-groups``; tiles do not divide the batch."""
    make = InfoNCELoss if case.startswith("info_nce") else SigmoidLoss
    return make(scale=6.0, tile=3, group=group).double()


def batch(case: str, ranks: int, rank: int | None):
    """Batch of one rank of ``ranks``, which the whole batch is divided among; None for the whole batch."""
    kind = case.split("-")[1]
    generator = torch.Generator().manual_seed(1)

    def part(values: Tensor, sizes: tuple[int, ...]) -> Tensor:
        if rank is None:
            return values
        bounds = torch.tensor((0, *sizes)).cumsum(0).tolist()
        share = 4 // ranks
        return values[bounds[rank * share] : bounds[(rank + 1) * share]]

    sizes = IMAGES, TEXTS[kind], NEGATIVES[kind]
    widths = 6, 7, 7
    features = [
        part(torch.randn(sum(size), width, generator=generator, dtype=torch.float64), size)
        for size, width in zip(sizes, widths, strict=True)
    ]
    ids = [part(torch.randint(0, 9, (sum(size),), generator=generator), size) for size in sizes[:2]]
    return *features, tuple(ids) if kind == "groups" else None


def main(rank: int, ranks: int, folder: Path) -> None:
    """Run all cases on one rank, and one in which the first rank is refused."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=ranks)
    for case in CASES:
        model = nn.parallel.DistributedDataParallel(Towers(make_loss(case, dist.group.WORLD)).double())
        loss = model(*batch(case, ranks, rank))
        loss.backward()
        torch.save([loss.detach(), *[p.grad for p in model.parameters()]], folder / f"{case}-{rank}.pt")
    images = torch.eye(3, 4) if rank else torch.full((3, 4), float("nan"))
    try:
        InfoNCELoss(group=dist.group.WORLD)(images, torch.eye(3, 4))
    except ValueError as error:
        (folder / f"refused-{rank}.txt").write_text(str(error), encoding="utf-8")
    dist.destroy_process_group()
