"""One process of several that meter parts of the same features; each writes the report that it gets."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.distributed as dist
from vl_ssl import CollapseMeter

CASES = {
    "gram": {},
    "factor": {"accurate": True},
    "sketch": {"sketch": 6},
    "window": {"window": 30},
    "views": {},
    "nothing on a rank": {},
}


def all_features() -> torch.Tensor:
    """Features of all ranks, with a mean: few on the first rank, fewer than dimensions."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5, 0.2], dtype=torch.float64)
    return torch.randn(42, 6, generator=generator, dtype=torch.float64) * scales + 3


def own_features(case: str, rank: int) -> torch.Tensor:
    """The part of a rank."""
    if case == "nothing on a rank":
        return all_features()[: 42 * rank]
    return all_features()[4:] if rank else all_features()[:4]


def fill(meter: CollapseMeter, case: str, features: torch.Tensor) -> CollapseMeter:
    """Feed a meter, with views where the case has some."""
    (meter.update_views if case == "views" else meter.update)(
        features.reshape(-1, 2, 6) if case == "views" else features
    )
    return meter


def main(rank: int, ranks: int, folder: Path) -> None:
    """Run all cases on one rank, and one in which the ranks disagree."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=ranks)
    found = {}
    for case, options in CASES.items():
        meter = fill(CollapseMeter(**options), case, own_features(case, rank))
        own = meter.samples
        meter.synchronized()
        report = meter.synchronized().compute()
        assert meter.samples == own
        found[case] = [report.as_dict(), report.singular_values]
        if case != "window":
            meter.all_reduce()
            assert meter.compute() == report
    try:
        fill(CollapseMeter(), "gram", torch.ones(2, 3 + rank)).synchronized()
    except ValueError as error:
        found["refused"] = str(error)
    (folder / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.destroy_process_group()
