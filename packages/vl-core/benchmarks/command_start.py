"""CPU seconds until a command of the vl packages answers: help, version, and wrong input that needs no model.

Each command is given every option of `WRONG` that it has. Runs each installed command several times in a process of its
own, and takes the user and system time of that process from the operating system, so that other load on the machine
matters little. Appends a row a command line to a CSV file: median and 20 % and 80 % quantiles, with hardware, versions,
command and commit::

    python packages/vl-core/benchmarks/command_start.py --out packages/vl-core/benchmarks/command_start.csv
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from vl_core.cli import Command
from vl_core.cli._options import read_options
from vl_core.results import append_row, provenance

PROGRAMS = {"vl-diffusion": "vl_diffusion.cli", "vl-attention": "vl_attention.cli"}
NAMES_OF_IMAGES = ("images", "examples", "test_images")
WRONG_IMAGES = ("/no/such/path", "notes.txt", "empty", "texts", "broken", "'broken/*.png'")
WRONG = {
    "--out": ("file", "file/below"),
    "--device": ("toaster", "cuda:99"),
    "--split": ("nope",),
    "--variant": ("fp16",),
    "--image-size": ("0",),
    "--limit": ("0",),
    "--batch-size": ("0",),
    "--seed": ("-1",),
    "--seeds": ("-1",),
    "--temperature": ("inf",),
    "--port": ("0",),
    "--classes": ("@", "@empty", "@file"),
    "--model": ("empty", "file"),
    "--teacher": ("empty",),
    "--source": ("empty",),
    "--logits": ("file",),
    "--tree": ("nowhere",),
}
"""Options, and values of them that are wrong in the folder that `prepare` makes."""


def prepare(folder: Path) -> None:
    """Make the files that the wrong values name."""
    for name in ("file", "notes.txt", "texts/a.txt", "broken/cat/a.png", "broken/dog/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no image, no model, and no folder")
    (folder / "empty").mkdir()


def command_lines(prog: str, commands: Mapping[str, Command]) -> dict[str, int]:
    """Command lines to time, with the exit status of each."""
    found = {prog: 2, f"{prog} --version": 0, f"{prog} --help": 0, f"{prog} {next(iter(commands))}x": 2}
    for name, command in commands.items():
        found |= {f"{prog} {name} --help": 0, f"{prog} {name} --no-such-option": 2}
        module, _, settings = command.settings.partition(":")
        for option in read_options(getattr(import_module(module), settings)):
            flag = "" if option.positional else f"{option.flag} "
            wrong = WRONG_IMAGES if option.field in NAMES_OF_IMAGES else WRONG.get(option.flag, ())
            found |= {f"{prog} {name} {flag}{value}": 2 for value in wrong}
            if option.field == "strict":
                found[f"{prog} {name} broken --strict"] = 2
    return found


def cpu_seconds(line: str, folder: str | None = None, place: Path | None = None) -> tuple[float, int]:
    """User and system time of one run, and its exit status.

    Args:
        line: The command line.
        folder: Folder of the installed commands; by default, that of this Python.
        place: Working folder.
    """
    program, *arguments = shlex.split(line)
    path = Path(folder or Path(sys.executable).parent) / program
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([path, *arguments], cwd=place, **quiet) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, process.returncode


def measure(lines: dict[str, int], runs: int, folder: str | None = None) -> list[dict[str, object]]:
    """One row a command line; the runs are interleaved, after one that is not counted.

    Raises:
        RuntimeError: If a command ends with another status than it should.
    """
    seconds: dict[str, list[float]] = {line: [] for line in lines}
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        before = sorted(Path(name).rglob("*"))
        for count in range(runs + 1):
            for line, expected in lines.items():
                spent, status = cpu_seconds(line, folder, Path(name))
                if status != expected:
                    raise RuntimeError(f"{line} must end with status {expected}, got {status}")
                if sorted(Path(name).rglob("*")) != before:
                    raise RuntimeError(f"{line} must write nothing")
                if count:
                    seconds[line].append(spent)
    rows = []
    for line, spent in seconds.items():
        low, *_, high = statistics.quantiles(spent, n=5, method="inclusive")
        row = {"command_line": line, "runs": runs, "cpu_seconds": statistics.median(spent), "q20": low, "q80": high}
        rows.append({name: f"{value:.3f}" if isinstance(value, float) else value for name, value in row.items()})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="CSV file to append to")
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each command line")
    parser.add_argument("--label", default="after", help="what was measured, such as before or after a change")
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=PROGRAMS)
    parser.add_argument("--only", nargs="+", help="command lines to time; by default all")
    parser.add_argument("--commands-from", help="folder of the installed commands, for those of another environment")
    parser.add_argument("--commit", help="commit of those commands, if it is not that of the working folder")
    given = parser.parse_args(arguments)
    origin = provenance() | ({"commit": given.commit} if given.commit else {})
    for prog in given.programs:
        lines = command_lines(prog, import_module(PROGRAMS[prog]).COMMANDS)
        lines = {line: status for line, status in lines.items() if given.only is None or line in given.only}
        for row in measure(lines, given.runs, given.commands_from):
            print(f"{row['cpu_seconds']:>7} s  {row['command_line']}")
            append_row(given.out, {"label": given.label, **row, **origin})


if __name__ == "__main__":
    main()
