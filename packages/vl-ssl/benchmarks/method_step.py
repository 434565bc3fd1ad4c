"""Measure a training step of each method, compared with one made of lightly's parts.

    uv pip install lightly
    python packages/vl-ssl/benchmarks/method_step.py
    python packages/vl-ssl/benchmarks/method_step.py --methods simsiam --batch 64 --rounds 5 --out ""

A step is forward, backward, SGD and, where there is one, the momentum encoder, on timm's ResNet-18 without a
classifier. Both start from the same weights and see the same views; lightly's side takes its heads' layers, losses,
memory bank and momentum update, put together as its examples do. Before any timing the losses of the first step must
agree, except for MoCo v3, whose loss lightly does not have: its side takes NT-Xent of the same queries and keys.
A turn is two steps of each, in the order ABBA; ratios are quantiles of the ratios of one turn. Seconds are of the
processor, over all threads, so that what else runs on the machine counts little.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from vl_core.results import append_row, provenance, quantiles
from vl_ssl import SiameseMethod, build_method
from vl_ssl.methods.build import METHODS

Step = Callable[[], Tensor]
ROWS = Path(__file__).with_suffix(".csv")
QUEUE = 25_600


class Theirs(nn.Module):
    """A method of lightly's parts, with the weights of one of ours."""

    def __init__(self, name: str, ours: SiameseMethod):
        super().__init__()
        from lightly.loss import NegativeCosineSimilarity, NTXentLoss, VICRegLoss
        from lightly.models.modules import NNMemoryBankModule
        from lightly.models.modules.heads import ProjectionHead

        def head(source: nn.Module) -> nn.Module:
            layers, blocks = list(source.children()), []
            for place, layer in enumerate(layers):
                if isinstance(layer, nn.Linear):
                    rest = layers[place + 1 : place + 3]
                    norm = copy.deepcopy(rest[0]) if rest and isinstance(rest[0], nn.BatchNorm1d) else None
                    active = nn.ReLU() if len(rest) > 1 and isinstance(rest[1], nn.ReLU) else None
                    blocks.append((layer.in_features, layer.out_features, norm, active, layer.bias is not None))
            made = ProjectionHead(blocks)
            with torch.no_grad():
                for mine, own in zip(source.parameters(), made.parameters(), strict=True):
                    own.copy_(mine)
            return made

        self.name = name
        self.backbone = copy.deepcopy(ours.backbone)
        self.projector = head(ours.projector)
        self.predictor = head(ours.predictor) if hasattr(ours, "predictor") else None
        self.slow = None
        if name in ("byol", "moco-v3"):
            self.slow = nn.ModuleList(copy.deepcopy([self.backbone, self.projector])).requires_grad_(False)
        self.bank = None
        if name == "nnsiam":
            self.bank = NNMemoryBankModule(size=(QUEUE, ours.queue.shape[1]))
            self.bank.bank = ours.queue.clone()
        self.loss = {
            "moco-v3": lambda: NTXentLoss(temperature=0.2),
            "simclr": lambda: NTXentLoss(temperature=0.5),
            "vicreg": VICRegLoss,
        }.get(name, NegativeCosineSimilarity)()

    def forward(self, view_1: Tensor, view_2: Tensor) -> Tensor:
        """Loss of two views."""
        z1, z2 = self.projector(self.backbone(view_1)), self.projector(self.backbone(view_2))
        if self.predictor is None:
            return self.loss(z1, z2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        if self.slow is not None:
            with torch.no_grad():
                t1, t2 = (self.slow[1](self.slow[0](view)) for view in (view_1, view_2))
        elif self.bank is not None:
            t2, t1 = self.bank(z2.detach(), update=False), self.bank(z1.detach(), update=True)
        else:
            t1, t2 = z1.detach(), z2.detach()
        return 0.5 * (self.loss(p1, t2) + self.loss(p2, t1))

    def after_update(self, momentum: float) -> None:
        """Move the momentum encoder."""
        from lightly.models.utils import update_momentum

        if self.slow is not None:
            update_momentum(self.backbone, self.slow[0], m=momentum)
            update_momentum(self.projector, self.slow[1], m=momentum)


def sides(name: str, views: tuple[Tensor, Tensor], channels: int) -> dict[str, Step]:
    """A training step of ours and of lightly's, each of which returns the loss."""
    torch.manual_seed(0)
    backbone = timm.create_model("resnet18", num_classes=0, in_chans=channels)
    settings: dict[str, Any] = {"momentum_schedule": "constant"} if name in ("byol", "moco-v3") else {}
    ours = build_method(name, backbone, **settings)
    theirs = Theirs(name, ours)
    sgd = {"lr": 0.05 * len(views[0]) / 256, "momentum": 0.9}
    first = torch.optim.SGD(ours.parameter_groups(1e-4), **sgd)
    trained = [parameter for parameter in theirs.parameters() if parameter.requires_grad]
    second = torch.optim.SGD(trained, weight_decay=1e-4, **sgd)

    def step_ours() -> Tensor:
        first.zero_grad()
        loss = ours(*views).loss
        loss.backward()
        first.step()
        ours.after_update(0, 1)
        return loss.detach()

    def step_theirs() -> Tensor:
        second.zero_grad()
        loss = theirs(*views)
        loss.backward()
        second.step()
        theirs.after_update(settings and ours.momentum)
        return loss.detach()

    return {"ours": step_ours, "lightly": step_theirs}


def check(name: str, ours: float, theirs: float) -> None:
    """Stop if the losses of the first step differ; BYOL's scale is the paper's here, and SimSiam's in lightly."""
    expected = 4 + 4 * theirs if name == "byol" else theirs
    if name != "moco-v3" and abs(ours - expected) > 1e-4 * max(1, abs(expected)):
        raise SystemExit(f"the losses of {name} disagree: {ours} and {expected}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", default=str(ROWS), help="CSV file to append to; empty for none")
    args = parser.parse_args()
    if importlib.util.find_spec("lightly") is None:
        raise SystemExit("lightly is what this compares with, and is not installed; uv pip install lightly")
    torch.set_num_threads(args.threads)
    for name in args.methods:
        views = tuple(torch.rand(2, args.batch, args.channels, args.size, args.size).unbind())
        steps = sides(name, views, args.channels)
        losses = {side: step().item() for side, step in steps.items()}
        check(name, losses["ours"], losses["lightly"])
        load = os.getloadavg()[0]
        taken: dict[str, list[float]] = {side: [] for side in steps}
        for turn in range(args.rounds):
            spent = dict.fromkeys(steps, 0.0)
            # Each comes first and last in turn, so that what changes during the four steps meets both alike.
            first, second = list(steps)[:: 1 if turn % 2 else -1]
            for side in (first, second, second, first):
                start = time.process_time()
                steps[side]()
                spent[side] += time.process_time() - start
            for side, seconds in spent.items():
                taken[side].append(seconds / 2)
        ratios = [ours / theirs for ours, theirs in zip(taken["ours"], taken["lightly"], strict=True)]
        row: dict[str, object] = {"method": name, "against": f"lightly {version('lightly')}"}
        row |= {"batch": args.batch, "size": args.size, "threads": args.threads, "rounds": args.rounds}
        for column, values in (
            ("cpu_seconds", taken["ours"]),
            ("their_cpu_seconds", taken["lightly"]),
            ("ratio", ratios),
        ):
            low, median, high = quantiles(values)
            row |= {f"{column}_q20": f"{low:.4f}", column: f"{median:.4f}", f"{column}_q80": f"{high:.4f}"}
        row |= {"first_loss": f"{losses['ours']:.6f}", "their_first_loss": f"{losses['lightly']:.6f}"}
        row["load_before"] = f"{load:.1f}"
        print(row, flush=True)
        if args.out:
            append_row(args.out, {**row, **provenance()})


if __name__ == "__main__":
    main()
