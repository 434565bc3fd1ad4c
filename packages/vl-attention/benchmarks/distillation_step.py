"""Measure time and memory of an attention distillation step, compared with stored attention maps.

    python packages/vl-attention/benchmarks/distillation_step.py time --model base --pixels 384 512
    python packages/vl-attention/benchmarks/distillation_step.py memory --model large --pixels 224 512

and on a GPU, without installing vl packages; this needs timm, accelerate and huggingface-hub::

    PYTHONPATH=packages/vl-core/src:packages/vl-attention/src python \
        packages/vl-attention/benchmarks/distillation_step.py time --device cuda --precision bfloat16 --batch 32

Both variants start from the same weights, distill the same layers (the first three quarters) and stop the teacher after
the last of them; their losses are compared before measuring. The eager variant computes and stores each map, as
training code without a fused loss does. Steps alternate; times are medians with 20 % and 80 % quantiles. Memory is that
of the tensors saved for the backward pass, each storage counted once, without parameters. Rows go to
`distillation_step_time.csv` and `distillation_step_memory.csv`.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import timm
import torch
from timm.layers import Attention
from torch import Tensor, nn
from torch.nn import functional as F
from vl_attention import AttentionTransfer, Normalization
from vl_core.results import append_row, provenance

ROWS = Path(__file__).with_suffix(".csv")
MODELS = {"base": "vit_base_patch16_224", "large": "vit_large_patch16_224"}


class EagerAttention(nn.Module):
    """Attention of timm that stores its logits."""

    def __init__(self, attention: Attention):
        super().__init__()
        self.attention = attention
        self.logits: Tensor | None = None

    def forward(self, x: Tensor, **_: object) -> Tensor:
        """Map tokens ``(B, N, D)`` to tokens of the same shape."""
        own = self.attention
        images, tokens, _ = x.shape
        q, k, v = own.qkv(x).reshape(images, tokens, 3, own.num_heads, own.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        self.logits = own.scale * (q @ k.mT)
        return own.proj((self.logits.softmax(-1) @ v).transpose(1, 2).reshape(images, tokens, -1))


class EagerDistillation(nn.Module):
    """The same models and loss, with stored maps."""

    def __init__(self, transfer: AttentionTransfer):
        super().__init__()
        self.layers = [teacher for _, teacher in transfer.layers]
        self.normalization = transfer.student_normalization
        self.student, self.teacher = transfer.export(), copy.deepcopy(transfer.teacher).eval()
        self.teacher.blocks = self.teacher.blocks[: max(self.layers) + 1]
        for model in (self.student, self.teacher):
            for block in model.blocks:
                block.attn = EagerAttention(block.attn)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the sum of the losses of all layers."""
        normalized = self.normalization(images)
        with torch.no_grad():
            self.teacher.forward_features(normalized)
        logits = self.student(normalized)
        loss = logits.new_zeros(())
        for layer in self.layers:
            target = self.teacher.blocks[layer].attn.logits.softmax(-1)
            own = self.student.blocks[layer].attn.logits.log_softmax(-1)
            loss = loss - (target * own).sum(-1).mean()
        return logits, loss


def step(model: nn.Module, images: Tensor) -> float:
    """Run forward and backward, and return the transfer loss."""
    logits, transfer = model(images)[:2]
    truth = torch.zeros(len(images), dtype=torch.long, device=images.device)
    (F.cross_entropy(logits.float(), truth) + 3 * transfer).backward()
    model.zero_grad()
    if images.is_cuda:
        torch.cuda.synchronize()
    return float(transfer.detach())


@contextmanager
def kept_for_backward(model: nn.Module) -> Iterator[dict[int, Tensor]]:
    """Collect the tensors saved for the backward pass, one per storage, without the model's parameters."""
    kept: dict[int, Tensor] = {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def measure_memory(model: nn.Module, images: Tensor, tokens: int) -> tuple[float, int]:
    """Megabytes saved for the backward pass, and the number of saved ``tokens`` by ``tokens`` maps."""
    with kept_for_backward(model) as kept:
        logits, transfer = model(images)[:2]
        loss = logits.float().sum() + transfer
    maps = sum(t.ndim >= 2 and t.shape[-1] == t.shape[-2] == tokens for t in kept.values())
    size = sum(t.untyped_storage().nbytes() for t in kept.values()) / 1e6
    del loss
    return size, maps


def measure_time(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each round by variant; the variants alternate."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if round_:
                times[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in times.items()}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "memory"])
    parser.add_argument("--model", choices=MODELS, default="base")
    parser.add_argument("--pixels", type=int, nargs="+", default=[384, 512])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    args = parser.parse_args()
    for pixels in args.pixels:
        torch.manual_seed(0)
        teacher = timm.create_model(MODELS[args.model], img_size=pixels)
        fused = AttentionTransfer(teacher, seed=1, teacher_normalization=Normalization.none()).train()
        eager = EagerDistillation(fused).to(args.device).train()
        fused.to(args.device)
        images = torch.rand(args.batch, 3, pixels, pixels, device=args.device)
        tokens = teacher.patch_embed.num_patches + teacher.num_prefix_tokens
        common = {
            "what": args.what,
            "model": MODELS[args.model],
            "pixels": pixels,
            "tokens": tokens,
            "batch": args.batch,
            "layers": len(fused.layers),
            "precision": args.precision,
            "threads": torch.get_num_threads(),
        }
        with torch.autocast(images.device.type, torch.bfloat16, enabled=args.precision == "bfloat16"):
            losses = step(fused, images), step(eager, images)
            if abs(losses[0] - losses[1]) > 1e-2 * losses[1]:
                raise SystemExit(f"the two ways disagree: {losses}")
            if args.what == "memory":
                found = {name: measure_memory(model, images, tokens) for name, model in
                         (("fused", fused), ("eager", eager))}  # fmt: skip
                row = {f"{name}_mb": round(size / args.batch, 1) for name, (size, _) in found.items()}
                row |= {f"{name}_maps": maps for name, (_, maps) in found.items()}
            else:
                ways = {"fused": lambda: step(fused, images), "eager": lambda: step(eager, images)}  # noqa: B023
                times = measure_time(ways, args.rounds)
                ratios = times["fused"] / times["eager"]
                row = {f"{name}_seconds": round(float(np.median(values)), 3) for name, values in times.items()}
                quantiles = np.quantile(ratios, [0.5, 0.2, 0.8]).round(3).tolist()
                row |= dict(zip(("ratio", "ratio_20", "ratio_80"), quantiles, strict=True))
        print({**common, **row}, flush=True)
        append_row(ROWS.with_name(f"{ROWS.stem}_{args.what}.csv"), {**common, **row, **provenance()})


if __name__ == "__main__":
    main()
