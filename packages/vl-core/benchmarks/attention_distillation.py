"""Time and memory of `attention_distillation` against writing whole maps, in one interleaved run.

On a CPU it compares `reference` and `sdpa` with eager PyTorch; on a GPU `triton` and `sdpa` with eager and compiled
PyTorch and with compiled FlexAttention, in float32, as the authors of Attention Transfer run it, and in bfloat16. Heads
have 64 dimensions::

    python packages/vl-core/benchmarks/attention_distillation.py --out results.csv

The rows beside this file were made with `--out packages/vl-core/benchmarks/attention_distillation.csv`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from timing import interleaved
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention
from vl_core.kernels import attention_distillation
from vl_core.results import append_row, memory_rise, provenance

HEAD_DIMENSION = 64
# (images, heads, tokens): ViT-B at 224, 512 and 720 pixels on a CPU; ViT-B and ViT-L from 224 to 1024 on a GPU.
CPU_SHAPES = [(4, 12, 197), (1, 12, 577), (1, 12, 1025), (1, 12, 2049)]
GPU_SHAPES = [(32, heads, tokens) for heads in (12, 16) for tokens in (197, 577, 1025)] + [(2, 12, 4097), (2, 16, 4097)]
MEMORY_SHAPE = (1, 12, 4097)


def eager(q_student: Tensor, k_student: Tensor, q_teacher: Tensor, k_teacher: Tensor) -> Tensor:
    """The loss as it is usually written: queries scaled first, as timm does, and two whole maps."""
    scale = q_student.shape[-1] ** -0.5
    with torch.no_grad():
        taught = torch.softmax((q_teacher * scale) @ k_teacher.mT, -1)
    return -(taught * torch.log_softmax((q_student * scale) @ k_student.mT, -1)).sum(-1).mean()


def flex(q_student: Tensor, k_student: Tensor, q_teacher: Tensor, k_teacher: Tensor) -> Tensor:
    """The loss in FlexAttention: the log-sum-exp of the student's logits, less their mean under the teacher's map.

    That mean is linear in the student's keys, so attention with them for values gives it.
    """
    scale = q_student.shape[-1] ** -0.5
    expected_key = flex_attention(q_teacher, k_teacher, k_student)
    _, lse = flex_attention(q_student, k_student, k_student.detach(), return_lse=True)
    return (lse - scale * (q_student.float() * expected_key.float()).sum(-1)).mean()


def make_inputs(shape: tuple[int, int, int], dtype: torch.dtype, device: str) -> list[Tensor]:
    """Queries and keys of the student, which learn, and of the teacher."""
    generator = torch.Generator(device).manual_seed(0)
    size = (*shape, HEAD_DIMENSION)
    tensors = [torch.randn(size, generator=generator, device=device).to(dtype) for _ in range(4)]
    return [t.requires_grad_(i < 2) for i, t in enumerate(tensors)]


def step(loss: Callable[..., Tensor], tensors: list[Tensor], backward: bool) -> None:
    """One evaluation, forgetting the gradients of the last one."""
    tensors[0].grad = tensors[1].grad = None
    with torch.set_grad_enabled(backward):
        value = loss(*tensors)
    if backward:
        value.backward()


def runs(name: str, loss: Callable[..., Tensor], tensors: list[Tensor]) -> bool:
    """True if a way can take these tensors: compilers have gaps of their own."""
    try:
        step(loss, tensors, True)
    except Exception as error:
        print(f"{name} is left out: {type(error).__name__}: {str(error).splitlines()[0]}")
        return False
    return True


def time_shape(shape: tuple[int, int, int], device: str, repeats: int) -> list[dict[str, object]]:
    """Rows of times, with each way's ratio to eager of the same precision."""
    rows = []
    for dtype in (torch.float32,) if device == "cpu" else (torch.float32, torch.bfloat16):
        ways: dict[str, Callable[..., Tensor]] = {"eager": eager}
        if device == "cuda":
            torch.compiler.reset()  # what was compiled for earlier shapes counts towards a limit, beyond which none is
            ways["compiled eager"] = torch.compile(eager)
            ways["flex"] = torch.compile(flex)
        for impl in ("reference", "sdpa") if device == "cpu" else ("triton", "sdpa"):
            ways[impl] = partial(attention_distillation, impl=impl)
        tensors = make_inputs(shape, dtype, device)
        ways = {name: loss for name, loss in ways.items() if name == "eager" or runs(name, loss, tensors)}
        for backward in (False, True):
            calls = {name: partial(step, loss, tensors, backward) for name, loss in ways.items()}
            seconds = interleaved(calls, repeats, device)
            for name, (low, median, high) in seconds.items():
                peak = gpu_peak(calls[name]) if device == "cuda" else None
                rows.append(row(shape, dtype, backward, name, low, median, high, seconds["eager"][1], peak))
    return rows


def row(
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    backward: bool,
    name: str,
    low: float,
    median: float,
    high: float,
    eager_median: float,
    peak: int | None,
) -> dict[str, object]:
    """One row of the CSV file; prints it too."""
    images, heads, tokens = shape
    kind = "forward + backward" if backward else "forward"
    precision = str(dtype).removeprefix("torch.")
    ratio = median / eager_median
    print(
        f"B {images:2} H {heads} N {tokens:4} {precision:8} {kind:18} {name:14} "
        f"{median * 1e3:9.2f} ms, {ratio:.2f} x eager"
    )
    return {
        "images": images,
        "heads": heads,
        "tokens": tokens,
        "dtype": precision,
        "pass": kind,
        "impl": name,
        "milliseconds": f"{median * 1e3:.3f}",
        "quantile_20": f"{low * 1e3:.3f}",
        "quantile_80": f"{high * 1e3:.3f}",
        "ratio_to_eager": f"{ratio:.3f}",
        "peak_mebibytes": "" if peak is None else f"{peak / 2**20:.1f}",
    }


def gpu_peak(call: Callable[[], None]) -> int:
    """Bytes that a call takes at most, beyond its inputs."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before


def both_passes(impl: str) -> Callable[[], None]:
    """Return a forward and backward pass on a CPU whose inputs are there."""
    loss = eager if impl == "eager" else partial(attention_distillation, impl=impl)
    small = make_inputs((1, 1, 64), torch.float32, "cpu")
    step(loss, small, True)  # what libraries allocate for themselves at the first call
    return partial(step, loss, make_inputs(MEMORY_SHAPE, torch.float32, "cpu"), True)


def compare_cpu_memory() -> list[dict[str, object]]:
    """Rows of peak memory, each measured in a process of its own."""
    peaks = {impl: memory_rise(both_passes, impl) for impl in ("eager", "reference", "sdpa")}
    images, heads, tokens = MEMORY_SHAPE
    rows = []
    for impl, peak in peaks.items():
        print(f"B {images} H {heads} N {tokens} {impl:10} peak {peak:8.1f} MiB, {peak / peaks['eager']:.3f} x eager")
        rows.append(
            {
                "images": images,
                "heads": heads,
                "tokens": tokens,
                "dtype": "float32",
                "impl": impl,
                "peak_mebibytes": f"{peak:.1f}",
                "ratio_to_eager": f"{peak / peaks['eager']:.3f}",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, help="append rows to this CSV file; memory on a CPU goes to …-memory.csv")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for shape in GPU_SHAPES if device == "cuda" else CPU_SHAPES:
        for found in time_shape(shape, device, args.repeats):
            if args.out:
                append_row(args.out, found | provenance())
    if device == "cpu":
        for found in compare_cpu_memory():
            if args.out:
                append_row(args.out.with_stem(f"{args.out.stem}-memory"), found | provenance())


if __name__ == "__main__":
    main()
