r"""Time and peak memory of a package's first run in an empty environment, as a row of `first_run.csv`.

    python packages/vl-core/benchmarks/first_run.py vl-density vl-vlm
    python packages/vl-core/benchmarks/first_run.py vl-rl --command "vl-rl train --total-timesteps 2000"

For each package: its wheel and those of its siblings are built and installed into a new environment with uv, which
takes other libraries from its cache where it has them. Then the examples of the README run there in one process, and
one command, by default the first that the package has, without arguments. Seconds, CPU seconds and the peak memory are
of that one process and its children. Nothing is asked of the Hugging Face hub. Linux and macOS alone.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from time import perf_counter

from vl_core.results import append_row, provenance

ROOT = Path(__file__).resolve().parents[3]
ROWS = Path(__file__).with_suffix(".csv")
FIRST = {"vl-density": "vl-density ood"}
"""Commands that READMEs show first, where they are not the first of the package."""


def measure(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds, CPU seconds and peak megabytes of a command.

    Raises:
        RuntimeError: If it fails; the message ends with its last output.
    """
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}
    with tempfile.TemporaryFile() as output:
        start = perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        seconds = perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}: {output.read()[-2000:].decode()}")
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": megabytes(used)}


def megabytes(used: resource.struct_rusage) -> float:
    """Peak memory of a process, which macOS counts in bytes."""
    return used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def examples(readme: str) -> str:
    """Python blocks of a README as one script; empty if it has none."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL))


def first_command(package: str) -> str:
    """The first command of a package, without arguments; empty if it has none."""
    if package in FIRST or not (ROOT / "packages" / package / "src" / package.replace("-", "_") / "cli.py").exists():
        return FIRST.get(package, "")
    names = import_module(f"{package.replace('-', '_')}.cli").COMMANDS
    return f"{package} {next(iter(names))}"


def first_run(package: str, command: str) -> dict[str, object]:
    """Row of a package: what its installation, its examples and a command take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = (ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8")
        for built in dict.fromkeys((package, *re.findall(r'"(vl-\w+)(?:\[[\w,]+\])?==', project))):
            build = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder / "dist"), f"packages/{built}"]
            subprocess.run(build, cwd=ROOT, check=True)
        scripts = folder / "env" / "bin"
        wheels = [str(path) for path in sorted((folder / "dist").glob("*.whl"))]
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(folder / "env")], check=True)
        start = perf_counter()
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", str(scripts / "python"), *wheels], check=True)
        row: dict[str, object] = {"package": package, "install_seconds": f"{perf_counter() - start:.1f}"}
        script = examples((ROOT / "packages" / package / "README.md").read_text(encoding="utf-8"))
        (folder / "example.py").write_text(script, encoding="utf-8")
        steps = {"example": [str(scripts / "python"), "example.py"] if script else []}
        words = command.split()
        steps["command"] = [str(scripts / words[0]), *words[1:]] if words else []
        row["first_command"] = command
        for step, line in steps.items():
            found: Mapping[str, float | None] = dict.fromkeys(("seconds", "cpu_seconds", "peak_mb"))
            if line:
                found = measure(line, folder)
            row |= {f"{step}_{key}": "" if value is None else f"{value:.1f}" for key, value in found.items()}
        return row


def main() -> None:
    """Measure packages one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+", choices=sorted(path.name for path in (ROOT / "packages").glob("vl-*")))
    parser.add_argument("--command", help="instead of the package's first command; empty for none")
    parser.add_argument("--out", default=str(ROWS), help="CSV file to append to; empty for none")
    given = parser.parse_args()
    for package in given.packages:
        command = first_command(package) if given.command is None else given.command
        row = {**first_run(package, command), "load_after": f"{os.getloadavg()[0]:.1f}"}
        print(row, flush=True)
        if given.out:
            append_row(given.out, {**row, **provenance()})


if __name__ == "__main__":
    main()
