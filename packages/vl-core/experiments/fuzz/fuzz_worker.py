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
from pathlib import Path
from typing import IO

from fuzz_targets import MARK, TARGETS, Files, Target, check
from mutation import mutate

MEMORY_MB = 1000
HANG_SECONDS = 10.0
_STATE = struct.Struct("qqddd")
HANGS = "hang.txt"
INPUT = "input.bin"

EXIT_MEMORY = 77


class State:
    """What a worker has done, in a file that outlives it: mutant, executions, seconds, peak and slowest."""

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


def work(targets: Mapping[str, Target], name: str, seed: int, seconds: float, folder: Path, out: Path) -> int:
    """Run mutants of one target; 0 when the time is over, `EXIT_MEMORY` after a mutant that took too much."""
    target, state = targets[name], State(folder / "state")
    case = Case(target, folder)
    noise = os.open(folder / "noise.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    hangs: IO[str] = (folder / HANGS).open("w")
    faulthandler.enable(hangs)
    # Reading the whole files imports what the target needs; it must be silent and quick too, but has its own time.
    check(target, case.folder)
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    # What libraries log is their users' choice, but Pillow's lines are about files, which the error is about already.
    for library in ("datasets", "diffusers", "timm", "transformers", "vl_core"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    gc.collect()
    limit_memory(3 * MEMORY_MB)
    current = os.open(folder / INPUT, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    begun, before = time.monotonic(), state.seconds
    while state.seconds < seconds:
        data = case.mutant(f"{seed} {name}", state.mutant)
        os.ftruncate(current, 0)
        os.pwrite(current, data, 0)
        state.mutant += 1
        state.executions += 1
        state.save()
        case.place(data)
        start = time.monotonic()
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=hangs)
        try:
            check(target, case.folder)
        except Exception as error:
            kind = "memory" if isinstance(error, MemoryError) else "exception"
            keep_finding(out, name, kind, _where(error), traceback.format_exc(), data, case.name(data))
        finally:
            faulthandler.cancel_dump_traceback_later()
        state.slowest = max(state.slowest, time.monotonic() - start)
        state.seconds = before + time.monotonic() - begun
        own_peak = peak_mb()
        state.peak_mb = max(state.peak_mb, own_peak)
        state.save()
        if written := os.pread(noise, 4000, 0):
            text = written.decode(errors="replace")
            keep_finding(out, name, "noise", text.split(":")[0][-60:], text, data, case.name(data))
            os.ftruncate(noise, 0)
            os.lseek(noise, 0, os.SEEK_SET)
        if own_peak > MEMORY_MB:
            return EXIT_MEMORY
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("seed", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    sys.exit(work(TARGETS, given.target, given.seed, given.seconds, given.folder, given.out))
