"""Time and memory of a whole training step: a ViT-L/16 at 224 pixels learns 18 layers of another one's attention.

`eager` writes the maps that it compares, and uses the student's for its attention too; the other ways attend with
PyTorch's fused attention and take the loss from queries and keys. A step is the teacher's forward pass and the
student's forward and backward pass; on a GPU in bfloat16 under autocast::

    python packages/vl-core/benchmarks/training_step.py --out results.csv

The rows beside this file were made with `--out packages/vl-core/benchmarks/training_step.csv`.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from attention_distillation import gpu_peak
from timing import interleaved
from torch import Tensor, nn
from torch.nn import functional as F
from vl_core.kernels import attention_distillation
from vl_core.results import append_row, provenance

WIDTH, HEADS, BLOCKS, TAUGHT_BLOCKS = 1024, 16, 24, 18
IMAGE_SIZE, PATCH = 224, 16
LEARNING_RATE = 1e-4


class Block(nn.Module):
    """A pre-norm transformer block that shows its queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor, whole_map: bool) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The block's output, and logits and map if `whole_map`, else queries and keys."""
        images, tokens, _ = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(images, tokens, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if whole_map:
            logits = (q * q.shape[-1] ** -0.5) @ k.mT
            attention = logits.softmax(-1)
            shown = logits, attention
            attended = attention.to(v.dtype) @ v
        else:
            shown = q, k
            attended = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(attended.transpose(1, 2).reshape(images, tokens, WIDTH))
        return x + self.mlp(self.norm_mlp(x)), shown


class VisionTransformer(nn.Module):
    """The body of a ViT-L/16, up to its last taught block or its end."""

    def __init__(self) -> None:
        super().__init__()
        tokens = (IMAGE_SIZE // PATCH) ** 2 + 1
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.position = nn.Parameter(torch.randn(1, tokens, WIDTH) * 0.02)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))

    def forward(self, images: Tensor, blocks: int, whole_map: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Features, and what each of the taught blocks shows."""
        x = self.patches(images).flatten(2).mT
        x = torch.cat((self.class_token.expand(len(x), -1, -1), x), 1) + self.position
        shown = []
        for number, block in enumerate(self.blocks[:blocks]):
            x, found = block(x, whole_map and number < TAUGHT_BLOCKS)
            if number < TAUGHT_BLOCKS:
                shown.append(found)
        return x, shown


def step(student: VisionTransformer, teacher: VisionTransformer, images: Tensor, impl: str) -> None:
    """One training step with plain gradient descent, whose cost is the same for all."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
        with torch.no_grad():
            _, taught = teacher(images, TAUGHT_BLOCKS, impl == "eager")
        features, learned = student(images, BLOCKS, impl == "eager")
        if impl == "eager":
            losses = [-(p * z.log_softmax(-1)).sum(-1).mean() for (z, _), (_, p) in zip(learned, taught, strict=True)]
        else:
            losses = [
                attention_distillation(*mine, *its, impl=impl)  # type: ignore[arg-type]
                for mine, its in zip(learned, taught, strict=True)
            ]
    # The features' share stands for a head's loss: the blocks after the taught ones learn too.
    (torch.stack(losses).mean() + features.float().square().mean()).backward()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter -= LEARNING_RATE * parameter.grad
            parameter.grad = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="append rows to this CSV file")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for found in time_step(device, args.repeats):
        if args.out:
            append_row(args.out, found | provenance())


def time_step(device: str, repeats: int) -> list[dict[str, object]]:
    """Rows of times, with each way's ratio to eager."""
    torch.manual_seed(0)
    with torch.device(device):
        student, teacher = VisionTransformer(), VisionTransformer().requires_grad_(False)
        images = torch.randn(64 if device == "cuda" else 1, 3, IMAGE_SIZE, IMAGE_SIZE)
    impls = ("eager", "triton", "sdpa") if device == "cuda" else ("eager", "reference", "sdpa")
    ways = {impl: partial(step, student, teacher, images, impl) for impl in impls}
    rows: list[dict[str, object]] = []
    for impl, (low, median, high) in (seconds := interleaved(ways, repeats, device)).items():
        ratio = median / seconds["eager"][1]
        peak = gpu_peak(ways[impl]) if device == "cuda" else None
        print(f"{len(images)} images, {impl:10} {median * 1e3:9.1f} ms, {ratio:.2f} x eager")
        rows.append(
            {
                "images": len(images),
                "impl": impl,
                "milliseconds": f"{median * 1e3:.1f}",
                "quantile_20": f"{low * 1e3:.1f}",
                "quantile_80": f"{high * 1e3:.1f}",
                "ratio_to_eager": f"{ratio:.3f}",
                "peak_mebibytes": "" if peak is None else f"{peak / 2**20:.0f}",
            }
        )
    return rows


if __name__ == "__main__":
    main()
