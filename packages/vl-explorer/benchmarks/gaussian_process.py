"""Measure the incremental Gaussian process against refitting it each iteration, on a CPU.

    OMP_NUM_THREADS=2 python packages/vl-explorer/benchmarks/gaussian_process.py
    OMP_NUM_THREADS=1 python packages/vl-explorer/benchmarks/gaussian_process.py --iterations 5 --concepts 5000 --out ""

An iteration observes queries that were not observed before and predicts mean and variance of all concepts. Refitting
factors all observations again and solves for each block of concepts; it uses the same kernel and block size. Both ways
run in each measured iteration, one after the other, and must agree. Refitting may be left out of iterations by
`--refit-every`: ratios are of the measured iterations alone, the sums of both ways over the same ones. Nothing is
extrapolated. Seconds are those of the processor, summed over threads. Memory is that of a process of its own that runs
the incremental way alone (Linux): its peak above what it held before, which was the embeddings. The full size takes
hours, nearly all of it for refitting; `--refit-every 10` shortens it. Set OMP_NUM_THREADS, which the libraries behind
NumPy read when they are loaded.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.linalg import solve_triangular
from vl_core.results import append_row, memory_rise, provenance
from vl_explorer.models.gaussian_process import GaussianProcess
from vl_explorer.models.kernel import RadialBasisKernel, kernel_block
from vl_explorer.models.model import Floats

ROWS = Path(__file__).with_suffix(".csv")
NOISE = 0.1
TILE = 2**22


def world(concepts: int, dimensions: int) -> tuple[Floats, Floats]:
    """Embeddings of unit length ``(N, d)`` and a smooth reward of each ``(N,)``."""
    generator = np.random.default_rng(0)
    embeddings = generator.standard_normal((concepts, dimensions))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings, np.sin(3 * embeddings[:, 0]) + 0.1 * generator.standard_normal(concepts)


def refit(embeddings: Floats, order: np.ndarray, rewards: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of all concepts from the dense factor of all observations."""
    kernel = RadialBasisKernel(embeddings, 1.0, 1.0)
    left = kernel.left(order)
    matrix = kernel_block(left, kernel.right(order))
    matrix[np.diag_indices_from(matrix)] += NOISE
    factor = np.linalg.cholesky(matrix)
    del matrix
    half = solve_triangular(factor, rewards, lower=True, check_finite=False)
    mean, variance = np.empty((2, len(embeddings)))
    width = max(64, TILE // len(order))
    for start in range(0, len(embeddings), width):
        block = slice(start, min(start + width, len(embeddings)))
        cross = kernel_block(left, kernel.right(block))
        solved = solve_triangular(factor, cross, lower=True, overwrite_b=True, check_finite=False)
        mean[block] = half @ solved
        variance[block] = 1 - np.einsum("ij,ij->j", solved, solved)
    return mean, variance


def incremental(concepts: int, dimensions: int, iterations: int, queries: int) -> Callable[[], object]:
    """All iterations by the incremental way, to be measured for memory."""
    embeddings, rewards = world(concepts, dimensions)

    def run() -> None:
        model = GaussianProcess(embeddings, noise=NOISE, normalize=False)
        order = np.random.default_rng(1).permutation(concepts)
        for start in range(0, iterations * queries, queries):
            seen = order[start : start + queries]
            model.observe(seen, rewards[seen])
            model.predict()

    return run


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=146_000)
    parser.add_argument("--dimensions", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--refit-every", type=int, default=1, help="refit in every so many iterations, and in the last")
    parser.add_argument("--out", default=str(ROWS), help="CSV file to append to; empty for none")
    args = parser.parse_args()
    if args.iterations * args.queries > args.concepts:
        parser.error("--concepts must be at least --iterations times --queries, since no concept is observed twice")
    embeddings, rewards = world(args.concepts, args.dimensions)
    order = np.random.default_rng(1).permutation(args.concepts)
    model = GaussianProcess(embeddings, noise=NOISE, normalize=False)
    own: list[float] = []
    pairs: list[tuple[float, float]] = []
    difference = 0.0
    for iteration in range(1, args.iterations + 1):
        seen = order[: iteration * args.queries]
        new = seen[-args.queries :]
        start = time.process_time()
        model.observe(new, rewards[new])
        mean, std = model.predict()
        own.append(time.process_time() - start)
        if iteration % args.refit_every and iteration < args.iterations:
            continue
        start = time.process_time()
        exact, variance = refit(embeddings, seen, rewards[seen])
        pairs.append((own[-1], time.process_time() - start))
        difference = max(difference, float(abs(mean - exact).max()), float(abs(std**2 - variance).max()))
        print(f"iteration {iteration}: {own[-1]:.2f} s, refitting {pairs[-1][1]:.2f} s, differ by {difference:.1e}")
    if difference > 1e-8:
        raise SystemExit(f"the ways disagree by {difference:.1e}")
    peak = memory_rise(incremental, args.concepts, args.dimensions, args.iterations, args.queries)
    row = {
        "concepts": args.concepts,
        "dimensions": args.dimensions,
        "iterations": args.iterations,
        "queries": args.queries,
        "refitted_iterations": len(pairs),
        "seconds_incremental_all": f"{sum(own):.1f}",
        "seconds_incremental_of_refitted": f"{sum(pair[0] for pair in pairs):.1f}",
        "seconds_refit": f"{sum(pair[1] for pair in pairs):.1f}",
        "ratio": f"{sum(pair[1] for pair in pairs) / sum(pair[0] for pair in pairs):.2f}",
        "ratio_last_iteration": f"{pairs[-1][1] / pairs[-1][0]:.2f}",
        "largest_difference": f"{difference:.1e}",
        "peak_mebibytes": f"{peak:.0f}",
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    print(row)
    if args.out:
        append_row(args.out, {**row, **provenance()})


if __name__ == "__main__":
    main()
