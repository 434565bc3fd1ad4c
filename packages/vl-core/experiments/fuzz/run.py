r"""Fuzz every reader of outside bytes, and append a row for each target to `fuzz.csv`.

    python packages/vl-core/experiments/fuzz/run.py --minutes 10
    python packages/vl-core/experiments/fuzz/run.py --target npz image-png --minutes 1 --seed 3

A finding is an exception that is neither a ValueError nor an OSError, a refusal that does not name the file, a line on
standard output or standard error, more than 1 GB of resident memory, ten seconds without an answer, or the death of the
process. The first mutant of each kind and place is kept in `--out`, with its traceback; the exit status is 1 then.
Mutants depend on the seed, the target and their number alone. With `--engine atheris` (`pip install atheris`),
libFuzzer chooses by the lines that they reach which mutants to mutate further; what is printed is not looked at then.
Linux only.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from fuzz_targets import TARGETS
from fuzz_worker import EXIT_MEMORY, HANGS, INPUT, State, keep_finding
from vl_core.results import append_row, provenance

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Outcome:
    """A row of `fuzz.csv`."""

    target: str
    executions: int
    seconds: float
    findings: int
    peak_mb: float
    slowest_seconds: float
    seed: int
    engine: str


def fuzz(
    target: str,
    seed: int,
    seconds: float,
    out: Path,
    engine: str = "mutation",
    *,
    worker: Path = HERE / "fuzz_worker.py",
) -> Outcome:
    """Fuzz one target in processes of their own, one after the other where one dies."""
    before = {path.name for path in out.glob(f"{target}-*.txt")}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as folder:
        state = State(Path(folder, "state"))
        deaths = 0
        while state.seconds < seconds and deaths < 100:
            command = [sys.executable, str(worker), target, str(seed), str(seconds), folder, str(out), engine]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            state = State(Path(folder, "state"))
            if done.returncode == 0:
                break
            deaths += 1
            if state.executions == 0:
                raise RuntimeError(f"{target} does not read its own corpus: {done.stderr[-2000:]}")
            trace = Path(folder, HANGS).read_text()
            kind, where = _cause(done.returncode, trace)
            data = Path(folder, INPUT).read_bytes()
            # A machine that is short of time stands still too: a hang must happen twice.
            again = [*command[:-1], "replay"]
            if kind == "hang" and subprocess.run(again, env=environment, capture_output=True).returncode == 0:
                continue
            keep_finding(out, target, kind, where, f"{where}\n{trace}\n{done.stderr}", data, "")
        findings = {path.name for path in out.glob(f"{target}-*.txt")} - before
    return Outcome(
        *(target, state.executions, round(state.seconds, 1), len(findings)),
        *(round(state.peak_mb), round(state.slowest, 2), seed, engine),
    )


def _cause(status: int, trace: str) -> tuple[str, str]:
    if status == EXIT_MEMORY:
        return "memory", "over the limit"
    if status < 0:
        return "crash", signal.Signals(-status).name
    frames = [line.strip() for line in trace.splitlines() if "vl_" in line]
    return ("hang" if "Timeout" in trace else "crash"), " ".join(frames[:1])


def choose(names: Sequence[str]) -> list[str]:
    """Targets by name or by the beginning of their names, whose packages are installed."""
    if unknown := [name for name in names if not any(target.startswith(name) for target in TARGETS)]:
        raise ValueError(f"--target must name some of {', '.join(TARGETS)}, got {unknown[0]!r}")
    chosen = [name for name in TARGETS if not names or any(name.startswith(given) for given in names)]
    return [name for name in chosen if importlib.util.find_spec(TARGETS[name].package) is not None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the targets that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", nargs="*", default=[], help="names, or beginnings of names; default: all")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("mutation", "atheris"), default="mutation", help="atheris: by coverage")
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="folder for mutants that were findings")
    parser.add_argument("--csv", type=Path, default=HERE / "fuzz.csv", help="table to append to")
    given = parser.parse_args(arguments)
    found = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        names = choose(given.target)
        for outcome in pool.map(
            lambda name: fuzz(name, given.seed, 60 * given.minutes, given.out, given.engine), names
        ):
            found += outcome.findings
            print(outcome, flush=True)
            append_row(given.csv, asdict(outcome) | provenance())
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
