"""One process of two that share batches: training steps of every method, and layers of batch normalization.

Each rank writes what it has to a folder; `test_ranks.py` compares it with one process that has everything.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from method_problems import SETTINGS, make_method, make_views
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from vl_ssl import synchronize_batch_norm

UPDATES = 3
LAYERS = {
    "1d": lambda: nn.BatchNorm1d(4),
    "2d": lambda: nn.BatchNorm2d(4, momentum=None),
    "3d": lambda: nn.BatchNorm3d(4, affine=False),
    "act": lambda: BatchNormAct2d(4),
    "untracked": lambda: nn.BatchNorm1d(4, track_running_stats=False),
}
ROWS = (3, 5)
"""Rows of each rank in the tests of layers; they differ on purpose."""


def train(name: str, rank: int | None) -> dict[str, Tensor]:
    """Some steps on one rank of two, or on the whole batch for None: losses, first gradients, and the last state."""
    method = make_method(name)
    model: nn.Module = method
    if rank is not None:
        model = nn.parallel.DistributedDataParallel(synchronize_batch_norm(method))
    optimizer = torch.optim.SGD(method.parameter_groups(1e-3), lr=0.01, momentum=0.9)
    found: dict[str, Tensor] = {}
    for update in range(UPDATES):
        views = make_views(8, seed=update)
        if rank is not None:
            views = tuple(view[4 * rank : 4 * rank + 4] for view in views)
        optimizer.zero_grad()
        output = model(*views)
        output.loss.backward()
        found[f"loss {update}"] = output.loss.detach()
        if update == 0:
            found |= {f"gradient {key}": p.grad.clone() for key, p in method.named_parameters() if p.requires_grad}
        optimizer.step()
        method.after_update(update, UPDATES)
    return found | {f"state {key}": value for key, value in method.state_dict().items()}


def normalize(kind: str, rank: int | None) -> dict[str, Tensor]:
    """Two passes of a layer on one rank's rows, or on all for None: outputs, gradients and running statistics."""
    generator = torch.Generator().manual_seed(2)
    layer = LAYERS[kind]().double()
    if layer.weight is not None:
        with torch.no_grad():
            layer.weight.copy_(torch.rand(4, generator=generator, dtype=torch.float64))
    shape = {"1d": (), "2d": (3, 2), "3d": (2, 1, 2), "act": (3, 2), "untracked": ()}[kind]
    if rank is not None:
        synchronize_batch_norm(layer)
    found: dict[str, Tensor] = {}
    for step in range(2):
        rows, upstream = torch.randn(2, sum(ROWS), 4, *shape, generator=generator, dtype=torch.float64)
        if rank is not None:
            part = slice(0, ROWS[0]) if rank == 0 else slice(ROWS[0], None)
            rows, upstream = rows[part], upstream[part]
        rows = (5 + 3 * rows).requires_grad_()
        out = layer(rows)
        (out * upstream).sum().backward()
        found |= {f"rows out {step}": out.detach(), f"rows gradient {step}": rows.grad}
    found |= {f"sum {key}": parameter.grad for key, parameter in layer.named_parameters()}
    found |= {f"same {key}": value for key, value in layer.named_buffers()}
    return found | {"rows evaluated": layer.eval()(rows).detach()}


def main(rank: int, folder: Path) -> None:
    """Run everything on one of two ranks."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    for name in SETTINGS:
        torch.save(train(name, rank), folder / f"{name}-{rank}.pt")
    for kind in LAYERS:
        torch.save(normalize(kind, rank), folder / f"{kind}-{rank}.pt")
    dist.destroy_process_group()
