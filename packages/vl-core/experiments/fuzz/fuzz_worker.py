"""One process that feeds mutants to one target until its time is over; started by `run.py`.

It stops at the first mutant that hangs, kills it, or takes too much memory; `run.py` notes it and starts the next
process at the mutant after it. Mutant `n` depends on the seed, the target and `n` alone.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import hashlib
import logging
import mmap
import os
import random
import resource
import shutil
import struct
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

from fuzz_targets import MARK, TARGETS, Files, Target, check
from mutation import MAX_BYTES, mutate

MEMORY_MB = 1000
HANG_SECONDS = 10.0
_STATE = struct.Struct("qqddd")
HANGS = "hang.txt"
INPUT = "input.bin"

EXIT_MEMORY = 78


class State:
    """Counts of a worker, in a file that outlives it: mutant, executions, seconds, peak and slowest."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_STATE.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _STATE.size)
        self.mutant, self.executions, self.seconds, self.peak_mb, self.slowest = _STATE.unpack(self._memory[:])

    def save(self) -> None:
        """Write to the file."""
        values = (self.mutant, self.executions, self.seconds, self.peak_mb, self.slowest)
        self._memory[:] = _STATE.pack(*values)


class Case:
    """A folder with the files of a target, one of which is replaced by a mutant at a time."""

    def __init__(self, target: Target, work: Path) -> None:
        self.files: Files = target.files()
        self.names = list(self.files)
        self.folder = work / MARK
        self._writes = target.writes
        self._last = ""
        self._fresh()

    def mutant(self, seed: str, number: int) -> bytes:
        """Number of the file in one byte, and its new content."""
        generator = random.Random(f"{seed} {number}")
        place = generator.randrange(len(self.names))
        versions = self.files[self.names[place]]
        return bytes([place]) + mutate(generator.choice(versions), generator, versions)

    def name(self, data: bytes) -> str:
        """The file that a mutant replaces."""
        return self.names[data[0] % len(self.names)]

    def place(self, data: bytes) -> None:
        """Write a mutant into the folder, beside files that are whole."""
        if self._writes:
            self._fresh()
        elif self._last:
            (self.folder / self._last).write_bytes(self.files[self._last][0])
        self._last = self.name(data)
        (self.folder / self._last).write_bytes(data[1:])

    def _fresh(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, versions in self.files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(versions[0])


def peak_mb() -> float:
    """Largest resident memory of this process so far (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def limit_memory(megabytes: int) -> None:
    """Let this process map so much more than now, so that a finding does not cost the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def keep_finding(out: Path, target: str, kind: str, where: str, text: str, data: bytes, name: str) -> None:
    """Keep the first mutant of each kind and place, with its traceback."""
    out.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(f"{kind} {where}".encode()).hexdigest()[:8]
    stem = out / f"{target}-{kind}-{digest}"
    if not stem.with_suffix(".txt").exists():
        stem.with_suffix(".bin").write_bytes(data)
        stem.with_suffix(".txt").write_text(f"{kind} of {target}, file {name} (after the first byte)\n\n{text}\n")


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"{Path(frame.filename).name}:{frame.name}" for frame in frames if "vl_" in frame.filename]
    return " ".join([type(error).__name__, *own[-2:]])


class Loop:
    """Runs one mutant after the other, and keeps what is found."""

    def __init__(self, target: Target, name: str, case: Case, state: State, folder: Path, out: Path) -> None:
        self.target, self.name, self.case, self.state, self.out = target, name, case, state, out
        self.noise = os.open(folder / "noise.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.current = os.open(folder / INPUT, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.hangs: IO[str] = (folder / HANGS).open("w")
        self._begun, self._before = time.monotonic(), state.seconds

    def silence(self) -> None:
        """Send what this process prints from now on to a file, in which it is found."""
        os.dup2(self.noise, 1)
        os.dup2(self.noise, 2)
        # What libraries log is their users' choice; Pillow's lines are about files, and so is the error already.
        for library in ("datasets", "diffusers", "timm", "transformers", "vl_core"):
            logging.getLogger(library).setLevel(logging.CRITICAL + 1)

    def once(self, data: bytes) -> bool:
        """Run one mutant; False if it took so much memory that this process has to end."""
        state = self.state
        os.ftruncate(self.current, 0)
        os.pwrite(self.current, data, 0)
        state.mutant += 1
        state.executions += 1
        state.save()
        self.case.place(data)
        start = time.monotonic()
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=self.hangs)
        try:
            check(self.target, self.case.folder)
        except Exception as error:
            kind = "memory" if isinstance(error, MemoryError) else "exception"
            self._keep(kind, _where(error), traceback.format_exc(), data)
        finally:
            faulthandler.cancel_dump_traceback_later()
        state.slowest = max(state.slowest, time.monotonic() - start)
        state.seconds = self._before + time.monotonic() - self._begun
        own_peak = peak_mb()
        state.peak_mb = max(state.peak_mb, own_peak)
        state.save()
        return own_peak <= MEMORY_MB

    def listen(self, data: bytes) -> None:
        """Keep what a mutant made the process print."""
        if written := os.pread(self.noise, 4000, 0):
            text = written.decode(errors="replace")
            self._keep("noise", text.split(":")[0][-60:], text, data)
            os.ftruncate(self.noise, 0)
            os.lseek(self.noise, 0, os.SEEK_SET)

    def _keep(self, kind: str, where: str, text: str, data: bytes) -> None:
        keep_finding(self.out, self.name, kind, where, text, data, self.case.name(data))


def work(
    targets: Mapping[str, Target],
    name: str,
    seed: int,
    seconds: float,
    folder: Path,
    out: Path,
    engine: str = "mutation",
) -> int:
    """Run mutants of one target; 0 when the time is over, `EXIT_MEMORY` after a mutant that took too much."""
    target, state = targets[name], State(folder / "state")
    # Reading the whole files imports what the target needs, which has its own time.
    with _instrumented(engine):
        case = Case(target, folder)
        check(target, case.folder)
    last = (folder / INPUT).read_bytes() if engine == "replay" else b""
    loop = Loop(target, name, case, state, folder, out)
    faulthandler.enable(loop.hangs)
    loop.silence()
    gc.collect()
    limit_memory(3 * MEMORY_MB)
    if engine == "replay":
        return 0 if loop.once(last) else EXIT_MEMORY
    if engine == "atheris":
        _guided(loop, seed, seconds, folder)
    while state.seconds < seconds:
        data = case.mutant(f"{seed} {name}", state.mutant)
        whole = loop.once(data)
        loop.listen(data)
        if not whole:
            return EXIT_MEMORY
    return 0


def _instrumented(engine: str) -> AbstractContextManager[Any]:
    if engine != "atheris":
        return nullcontext()
    context: AbstractContextManager[Any] = import_module("atheris").instrument_imports(
        include=["vl_core", "vl_diffusion", "vl_attention"]
    )
    return context


def _guided(loop: Loop, seed: int, seconds: float, folder: Path) -> NoReturn:
    """Let libFuzzer choose what to mutate next, by what the mutants before have reached; ends the process."""
    atheris, case = import_module("atheris"), loop.case
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for place, name in enumerate(case.names):
        for version, content in enumerate(case.files[name]):
            (corpus / f"{place}-{version}").write_bytes(bytes([place]) + content)

    def test(data: bytes) -> None:
        if data and not loop.once(data):
            os._exit(EXIT_MEMORY)
        if loop.state.seconds >= seconds:
            os._exit(0)

    def mutant(data: bytes, most: int, number: int) -> bytes:
        generator = random.Random(number)
        versions = case.files[case.name(data)] if data else ()
        return (data[:1] + mutate(data[1:], generator, versions))[:most]

    # Signals are left to `faulthandler`, and memory and time to `Loop`.
    signals = [f"-handle_{name}=0" for name in ("abrt", "bus", "fpe", "ill", "segv")]
    options = [f"-seed={seed + loop.state.mutant + 1}", f"-max_len={MAX_BYTES + 1}", "-rss_limit_mb=0", *signals]
    atheris.Setup([loop.name, *options, str(corpus)], test, custom_mutator=mutant)
    atheris.Fuzz()
    raise AssertionError("libFuzzer ends the process")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("seed", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("engine", choices=("mutation", "atheris", "replay"))
    sys.exit(work(TARGETS, *vars(parser.parse_args()).values()))
