"""Time of `diffuse` and `noise_error` against stored noise: `randn`, `add_noise` and a mean squared error.

Each way makes noisy images for many (image, draw) pairs, and then compares one prediction for each class with the noise
of its pair. The bytes that have to be moved, over the time, are set against what a copy achieves on the same machine::

    python packages/vl-core/benchmarks/noise_evaluation.py --out results.csv

The rows beside this file were made with `--out packages/vl-core/benchmarks/noise_evaluation.csv`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from timing import Quantiles, interleaved
from torch import Tensor
from torch.nn import functional as F
from vl_core.kernels import diffuse, noise_error
from vl_core.noise import make_keys
from vl_core.results import append_row, provenance

Way = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """Counts of images, of draws of each and of classes on each draw; and what is diffused."""

    images: int
    draws: int
    classes: int
    values: tuple[int, int, int]


# Latents of Stable Diffusion and DiT at 512 and 256 pixels, and CIFAR's images.
CPU_SHAPES = [Shape(1, 16, 10, (4, 64, 64)), Shape(4, 16, 10, (4, 32, 32)), Shape(16, 16, 10, (3, 32, 32))]
GPU_SHAPES = [Shape(4, 256, 10, (4, 64, 64)), Shape(16, 256, 10, (4, 32, 32)), Shape(64, 64, 10, (3, 32, 32))]


class Case:
    """The tensors of a shape, and the ways to work on them."""

    def __init__(self, shape: Shape, dtype: torch.dtype, device: str) -> None:
        generator = torch.Generator(device).manual_seed(0)
        pairs = shape.images * shape.draws
        numbers = torch.arange(shape.images, device=device)
        keys = make_keys(0, numbers[:, None], torch.arange(shape.draws, device=device))
        self.keys = keys.flatten(0, 1)
        self.image = numbers.repeat_interleave(shape.draws)
        self.x0 = torch.randn(shape.images, *shape.values, generator=generator, device=device).to(dtype)
        self.alpha = torch.linspace(0.99, 0.1, pairs, device=device)
        self.sigma = (1 - self.alpha.square()).sqrt()
        self.pair = torch.arange(pairs, device=device).repeat_interleave(shape.classes)
        self.class_keys = self.keys[self.pair]
        prediction = torch.randn(len(self.pair), *shape.values, generator=generator, device=device)
        self.prediction = prediction.to(dtype).requires_grad_()
        self.noise = torch.randn(pairs, *shape.values, generator=generator, device=device).to(dtype)

    def eager_diffuse(self) -> Tensor:
        noise = torch.randn(len(self.keys), *self.x0.shape[1:], device=self.x0.device, dtype=self.x0.dtype)
        alpha, sigma = (level.to(noise.dtype).view(-1, 1, 1, 1) for level in (self.alpha, self.sigma))
        return alpha * self.x0[self.image] + sigma * noise

    def eager_error(self) -> Tensor:
        difference = F.mse_loss(self.prediction.float(), self.noise[self.pair].float(), reduction="none")
        return difference.flatten(1).mean(1)

    def diffuse(self, impl: str) -> Tensor:
        return diffuse(self.x0, self.keys, self.alpha, self.sigma, image=self.image, impl=impl)  # type: ignore[arg-type]

    def error(self, impl: str) -> Tensor:
        return noise_error(self.prediction, self.class_keys, impl=impl)  # type: ignore[arg-type]

    def both_passes(self, error: Callable[[], Tensor]) -> None:
        self.prediction.grad = None
        error().sum().backward()

    def bytes_moved(self, operation: str) -> int:
        """Bytes that have to be read and written, if noise is not."""
        if operation == "diffuse":
            return (self.x0.numel() + len(self.keys) * self.x0[0].numel()) * self.x0.element_size()
        passes = 3 if operation == "noise_error, forward + backward" else 1  # read twice and a gradient written
        return passes * self.prediction.numel() * self.prediction.element_size()

    def operations(self, device: str) -> dict[str, dict[str, Way]]:
        """Each operation's ways, eager first."""
        impl = "triton" if device == "cuda" else "reference"
        eager, error = self.eager_diffuse, self.eager_error
        ways: dict[str, dict[str, Way]] = {
            "diffuse": {"eager": eager, impl: partial(self.diffuse, impl)},
            "noise_error, forward": {
                "eager": torch.no_grad()(error),
                impl: torch.no_grad()(partial(self.error, impl)),
            },
            "noise_error, forward + backward": {
                "eager": partial(self.both_passes, error),
                impl: partial(self.both_passes, partial(self.error, impl)),
            },
        }
        if device == "cuda":
            torch.compiler.reset()  # what was compiled for earlier shapes counts towards a limit, beyond which none is
            compiled = torch.compile(error)
            ways["diffuse"]["compiled eager"] = torch.compile(eager)
            ways["noise_error, forward"]["compiled eager"] = torch.no_grad()(compiled)
            ways["noise_error, forward + backward"]["compiled eager"] = partial(self.both_passes, compiled)
        return ways


def copy_bandwidth(device: str, repeats: int) -> float:
    """Bytes a second, read and written, of copying a tensor that no cache holds."""
    source = torch.ones((1 << 30 if device == "cuda" else 1 << 28) // 4, device=device)
    target = torch.empty_like(source)
    _, median, _ = interleaved({"copy": partial(target.copy_, source)}, repeats, device)["copy"]
    return 2 * source.numel() * source.element_size() / median


def time_shape(shape: Shape, dtype: torch.dtype, device: str, repeats: int, copied: float) -> list[dict[str, object]]:
    """Rows of times, with each way's ratio to eager."""
    case = Case(shape, dtype, device)
    rows = []
    for operation, ways in case.operations(device).items():
        seconds = interleaved(ways, repeats, device)
        for name, quantiles in seconds.items():
            bandwidth = case.bytes_moved(operation) / quantiles[1]
            rows.append(row(shape, dtype, operation, name, quantiles, seconds["eager"][1], bandwidth, copied))
    return rows


def row(
    shape: Shape,
    dtype: torch.dtype,
    operation: str,
    name: str,
    quantiles: Quantiles,
    eager: float,
    bandwidth: float,
    copied: float,
) -> dict[str, object]:
    """One row of the CSV file; prints it too."""
    low, median, high = quantiles
    values = "x".join(map(str, shape.values))
    precision = str(dtype).removeprefix("torch.")
    print(
        f"{shape.images:3} images {shape.draws:3} draws {values:8} {precision:8} {operation:32} {name:14} "
        f"{median * 1e3:9.3f} ms, {median / eager:.2f} x eager, {bandwidth / copied:.2f} x copy bandwidth"
    )
    return {
        "operation": operation,
        "images": shape.images,
        "draws": shape.draws,
        "classes": shape.classes,
        "values": values,
        "dtype": precision,
        "impl": name,
        "milliseconds": f"{median * 1e3:.4f}",
        "quantile_20": f"{low * 1e3:.4f}",
        "quantile_80": f"{high * 1e3:.4f}",
        "ratio_to_eager": f"{median / eager:.3f}",
        "gigabytes_a_second": f"{bandwidth / 1e9:.1f}",
        "share_of_copy_bandwidth": f"{bandwidth / copied:.3f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, help="append rows to this CSV file")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    copied = copy_bandwidth(device, args.repeats)
    print(f"a copy moves {copied / 1e9:.1f} GB/s")
    for shape in GPU_SHAPES if device == "cuda" else CPU_SHAPES:
        for dtype in (torch.float32,) if device == "cpu" else (torch.float32, torch.bfloat16):
            for found in time_shape(shape, dtype, device, args.repeats, copied):
                if args.out:
                    append_row(args.out, found | provenance())


if __name__ == "__main__":
    main()
