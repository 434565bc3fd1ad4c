"""Measure time, memory and error of the collapse meter on a CPU, compared with singular value decompositions.

    OMP_NUM_THREADS=1 python packages/vl-ssl/benchmarks/collapse_meter.py
    OMP_NUM_THREADS=1 python packages/vl-ssl/benchmarks/collapse_meter.py --samples 20000 --rounds 1 --out ""

Features are float32, with a decaying spectrum and a mean, in chunks. The decompositions take the centered matrix in
float32: all of it (`torch.linalg.svd`, as the code of Li, Efros and Pathak calls it), or singular values alone
(`torch.linalg.svdvals`); and all of it in float64, the precision of the meter, with the conversion. The ways take turns
in one process for time, from the same matrix in memory and with one thread; seconds are those of the processor, and
ratios the medians of the ratios of one turn. For memory each way has a process of its own (Linux), whose peak is
compared with what it held before: the decompositions with the float32 matrix, the meters with nothing, since they make
each chunk when it is fed. The error is that of the AUC, against singular values in float64. Set OMP_NUM_THREADS=1,
which the libraries behind NumPy read when they are loaded.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from vl_core.results import append_row, memory_rise, provenance, timed_in_turns
from vl_ssl import CollapseMeter, spectrum_auc

ROWS = Path(__file__).with_suffix(".csv")
METERS = {"meter": {}, "accurate meter": {"accurate": True}}


def chunks(samples: int, width: int, size: int) -> Iterator[Tensor]:
    """The features, chunk by chunk, from seeds of their own."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.linalg.qr(torch.randn(width, width, generator=generator)).Q
    mixing *= torch.arange(1, width + 1)[:, None] ** -0.75
    mean = torch.randn(width, generator=generator) / width**0.5
    for start in range(0, samples, size):
        generator.manual_seed(1 + start)
        yield torch.randn(min(size, samples - start), width, generator=generator) @ mixing + mean


def metered(options: dict[str, bool], parts: Iterable[Tensor]) -> float:
    """AUC by a meter that sees one chunk after another."""
    meter = CollapseMeter(**options)
    for part in parts:
        meter.update(part)
    return meter.compute().auc


def decomposed(features: Tensor) -> float:
    """AUC by a full decomposition of the centered matrix, whose other factors are dropped."""
    _, values, _ = torch.linalg.svd(features - features.mean(0), full_matrices=False)
    return spectrum_auc(values)


def values_alone(features: Tensor) -> float:
    """AUC by the singular values of the centered matrix."""
    return spectrum_auc(torch.linalg.svdvals(features - features.mean(0)))


def decomposed_in_float64(features: Tensor) -> float:
    """AUC by a full decomposition in the precision of the meter's sums."""
    return decomposed(features.double())


DECOMPOSITIONS: dict[str, Callable[[Tensor], float]] = {
    "svd": decomposed,
    "svd float64": decomposed_in_float64,
    "svdvals": values_alone,
}


def one_run(way: str, samples: int, width: int, chunk: int) -> Callable[[], float]:
    """Return a run of a way: of a decomposition on a matrix that is there, of a meter on chunks that it makes."""
    torch.set_num_threads(1)
    _run(way, 256, 32, 64)()  # what libraries allocate for themselves at the first call
    return _run(way, samples, width, chunk)


def _run(way: str, samples: int, width: int, chunk: int) -> Callable[[], float]:
    if way in METERS:
        return lambda: metered(METERS[way], chunks(samples, width, chunk))
    return partial(DECOMPOSITIONS[way], next(chunks(samples, width, samples)))


def measure(way: str, features: Tensor, chunk: int, found: dict[str, float]) -> None:
    """Put the AUC by a way into what was found."""
    meter = way in METERS
    found[way] = metered(METERS[way], features.split(chunk)) if meter else DECOMPOSITIONS[way](features)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", default=[*METERS, *DECOMPOSITIONS], choices=[*METERS, *DECOMPOSITIONS])
    parser.add_argument("--out", default=str(ROWS), help="CSV file to append to; empty for none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise SystemExit("set OMP_NUM_THREADS=1: the ways are compared with one thread each")
    features = torch.cat(list(chunks(args.samples, args.width, args.chunk)))
    exact = features.double()
    expected = spectrum_auc(torch.linalg.svdvals(exact - exact.mean(0)))
    del exact
    load = os.getloadavg()[0]
    found: dict[str, float] = {}
    ways = {way: partial(measure, way, features, args.chunk, found) for way in args.ways}
    taken = timed_in_turns(ways, args.rounds, warmup=0)
    del features, ways
    for way in args.ways:
        ratios = [other / own for other, own in zip(taken[way], taken["meter"], strict=True)]
        row = {
            "way": way,
            "samples": args.samples,
            "width": args.width,
            "chunk": args.chunk if way in METERS else "",
            "threads": 1,
            "rounds": args.rounds,
            "cpu_seconds": f"{statistics.median(taken[way]):.2f}",
            "times_the_meter": f"{statistics.median(ratios):.2f}",
            "peak_rise_mebibytes": f"{memory_rise(one_run, way, args.samples, args.width, args.chunk):.1f}",
            "auc": f"{found[way]:.9f}",
            "auc_error": f"{abs(found[way] - expected):.1e}",
            "load_before": f"{load:.1f}",
        }
        print(row, flush=True)
        if args.out:
            append_row(args.out, {**row, **provenance()})


if __name__ == "__main__":
    main()
