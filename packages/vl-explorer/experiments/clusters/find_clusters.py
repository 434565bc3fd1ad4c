"""Count queries until all relevant clusters of a simulated world are found, by a Gaussian process and by chance.

    python packages/vl-explorer/experiments/clusters/find_clusters.py
    python packages/vl-explorer/experiments/clusters/find_clusters.py --sizes 200 --seeds 1

100,000 concepts lie in clusters of one size; five clusters are relevant. A cluster is found when its first concept was
searched for, and complete when all were. No concept is searched for twice. A run ends when all relevant clusters are
complete, or at `--limit` queries. Each run adds a row to `packages/vl-explorer/results/clusters.csv` when it ends;
runs that have one are passed over, so that the same command resumes. `report_clusters.py` makes table and chart.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vl_core.progress import progress_bar
from vl_core.results import append_row, provenance, read_rows
from vl_explorer import ClusterWorld, GaussianProcess, diverse, draw, mean_plus_std, query_distribution

ROWS = Path(__file__).resolve().parents[2] / "results" / "clusters.csv"
CONCEPTS, RELEVANT = 100_000, 5
QUERIES = 256  # of an iteration, as in the paper
LENGTH_SCALE, NOISE, PENALTY = 0.5, 0.1, 10.0  # chosen on seed 100


def uniform(world: ClusterWorld, seed: int, limit: int) -> NDArray[np.int64]:
    """All concepts in random order."""
    return np.random.default_rng([seed, 1]).permutation(len(world))


def gaussian_process(world: ClusterWorld, seed: int, limit: int) -> NDArray[np.int64]:
    """Concepts in the order in which the process asks for them, until all are found that are to be found."""
    model = GaussianProcess(world.embeddings, length_scale=LENGTH_SCALE, noise=NOISE)
    spread = diverse(QUERIES // 2, penalty=PENALTY, again=True)
    order = np.empty(0, np.int64)
    with progress_bar(total=limit, desc=f"clusters of {world.size}, seed {seed}", unit="query") as progress:
        for iteration in range(limit // QUERIES):
            generator = np.random.default_rng([seed, iteration])
            # Half of the queries for what scores best, half for what is unlike one another.
            best = _shares(mean_plus_std(model, generator), order, (250, 750))
            unlike = _shares(spread(model, generator), order, (QUERIES // 2, 872))
            distribution = (best + unlike) / 2
            chosen = draw(distribution, QUERIES, seed, iteration)
            model.observe(chosen, world.rewards(chosen))
            order = np.concatenate([order, chosen])
            progress.update(len(chosen))
            if world.found(order)[1] > 0:
                break
    return order


def _shares(scores: NDArray[np.float64], known: NDArray[np.int64], tiers: tuple[int, int]) -> NDArray[np.float64]:
    """Distribution over the concepts that are not known yet."""
    free = np.ones(len(scores), bool)
    free[known] = False
    shares = np.zeros(len(scores))
    shares[free] = query_distribution(scores[free], tiers=tiers)
    return shares


POLICIES = {"uniform": uniform, "gp": gaussian_process}


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 100, 400], help="concepts of a cluster")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=6144, help="queries of the process at most")
    parser.add_argument("--out", type=Path, default=ROWS)
    args = parser.parse_args()
    done = {(row["policy"], row["size"], row["seed"]) for row in (read_rows(args.out) if args.out.exists() else [])}
    for size in args.sizes:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            world = ClusterWorld(CONCEPTS, CONCEPTS // size, RELEVANT, seed=seed)
            for policy, search in POLICIES.items():
                if (policy, str(size), str(seed)) in done:
                    continue
                start = time.process_time()
                order = search(world, seed, args.limit)
                found, complete = world.found(order)
                curve = np.cumsum(np.isin(world.cluster_of[order], world.relevant))
                counts = [str(curve[place - 1]) for place in range(QUERIES, min(len(order), args.limit) + 1, QUERIES)]
                row = {
                    "policy": policy,
                    "concepts": CONCEPTS,
                    "relevant": RELEVANT,
                    "size": size,
                    "seed": seed,
                    "queries": len(order),
                    "queries_to_find": found,
                    "queries_to_complete": complete,
                    "relevant_by_256_queries": " ".join(counts),
                    "seconds": f"{time.process_time() - start:.1f}",
                }
                append_row(args.out, {**row, **provenance()})


if __name__ == "__main__":
    main()
