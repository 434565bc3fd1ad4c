"""Checks and times every kernel on the GPU at hand, in under nine minutes.

With Hatch, `hatch run gpu:all`; without, from the root of the repository, where PyTorch and Triton are at hand::

    PYTHONPATH=packages/vl-core/src python packages/vl-core/benchmarks/gpu.py

A kernel that errs ends the run with status 1 before anything is timed. Rows go to the folder `gpu` beside this file, a
file for each benchmark, as they are measured; what the time does not suffice for is said and left out.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attention_distillation as attention_benchmark
import noise_evaluation as noise_benchmark
import torch
import training_step
from torch import Tensor
from vl_core.kernels import attention_distillation, diffuse, noise_error
from vl_core.noise import gaussian
from vl_core.results import append_row, provenance

REPEATS = 11
SECONDS = 500.0  # no benchmark is begun after this
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

Rows = list[dict[str, object]]


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Of a whole tensor, in the Euclidean norm; absolute where zero is right."""
    off, norm = (float(torch.linalg.vector_norm(t.detach().double())) for t in (found - exact, exact))
    return off / norm if norm else off


def check_attention(dtype: torch.dtype, tokens: int, device: str = "cuda") -> bool:
    """Loss and gradients err at most 1.5 times as much as eager PyTorch in the same precision; the bits repeat."""
    tensors = attention_benchmark.make_inputs((2, 3, tokens), dtype, device)
    exact_tensors = [t.detach().double().requires_grad_(t.requires_grad) for t in tensors]

    def solve(loss: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
        value = loss(*tensors)
        return [value.detach(), *torch.autograd.grad(value, tensors[:2])]

    triton = partial(attention_distillation, impl="triton")
    found, again = solve(triton, tensors), solve(triton, tensors)
    eager, exact = solve(attention_benchmark.eager, tensors), solve(attention_benchmark.eager, exact_tensors)
    repeats = all(torch.equal(*pair) for pair in zip(found, again, strict=True))
    errors = [
        (relative_error(mine, right), relative_error(plain, right))
        for mine, plain, right in zip(found, eager, exact, strict=True)
    ]
    fine = repeats and all(mine <= 1.5 * plain + 1e-5 for mine, plain in errors)
    shown = ", ".join(f"{mine:.1e} (eager {plain:.1e})" for mine, plain in errors)
    print(f"attention_distillation {dtype} N {tokens}: {shown}, {'same' if repeats else 'OTHER'} bits again")
    return fine


def check_noise(dtype: torch.dtype, device: str = "cuda") -> bool:
    """The kernels' stream is PyTorch's, and errors and gradients are those of stored noise."""
    keys, shape = torch.arange(6, device=device) * 12345 - 5, (4, 33, 31)
    noise = gaussian(keys, shape)
    off = (diffuse(torch.zeros_like(noise), keys, 0.0, 1.0, impl="triton") - noise).abs() / noise.abs().clamp(min=1)
    prediction = torch.randn_like(noise).to(dtype).requires_grad_()
    found = noise_error(prediction, keys, impl="triton")
    right = (prediction.double() - noise).square().flatten(1).mean(1)
    gradients = [torch.autograd.grad(error.sum(), prediction)[0] for error in (found, right)]
    errors = relative_error(found, right), relative_error(gradients[0], gradients[1].double())
    print(f"noise {dtype}: normals {float(off.max()):.1e}, error {errors[0]:.1e}, gradient {errors[1]:.1e}")
    return float(off.max()) <= 1e-6 and errors[0] <= 1e-5 and errors[1] <= 1e-5 + torch.finfo(dtype).eps


def check() -> bool:
    """True if every kernel computes what it should."""
    attention = [check_attention(dtype, tokens) for dtype in DTYPES for tokens in (1, 63, 197, 577)]
    return all(attention + [check_noise(dtype) for dtype in DTYPES])


def benchmarks() -> Iterator[tuple[str, Callable[[], Rows]]]:
    """The name of a file, and what measures rows for it."""
    copied = noise_benchmark.copy_bandwidth("cuda", REPEATS)
    print(f"a copy moves {copied / 1e9:.0f} GB/s")
    for shape in noise_benchmark.GPU_SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            yield "noise_evaluation", partial(noise_benchmark.time_shape, shape, dtype, "cuda", REPEATS, copied)
    for size in attention_benchmark.GPU_SHAPES:
        yield "attention_distillation", partial(attention_benchmark.time_shape, size, "cuda", REPEATS)
    yield "training_step", partial(training_step.time_step, "cuda", REPEATS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "gpu", help="folder for the CSV files")
    parser.add_argument("--check", action="store_true", help="check the kernels and time nothing")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu.py needs a GPU that PyTorch can use, and there is none here", file=sys.stderr)
        return 2
    import triton

    started = time.monotonic()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, Triton {triton.__version__}")
    if not check():
        print("a kernel errs by more than it may; nothing was timed", file=sys.stderr)
        return 1
    if args.check:
        return 0
    failed, left_out = 0, []
    for name, measure in benchmarks():
        if time.monotonic() - started > SECONDS:
            left_out.append(name)
            continue
        try:
            rows = measure()
        except Exception:  # what was measured is kept, and the rest is still to be measured
            traceback.print_exc()
            failed += 1
            rows = []
        for row in rows:
            append_row(args.out / f"{name}.csv", row | provenance() | {"triton": triton.__version__})
        torch.cuda.empty_cache()
    if left_out:
        print(f"no time was left for {len(left_out)} of the benchmarks: {', '.join(sorted(set(left_out)))}")
    print(f"{time.monotonic() - started:.0f} s, {failed} benchmarks failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
