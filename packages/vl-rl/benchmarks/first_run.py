r"""Time and peak memory of the first run in an empty environment, as a row of `first_run.csv`.

    python packages/vl-rl/benchmarks/first_run.py

Builds the wheels of vl-core and vl-rl, installs them into a new environment with uv, and runs there the README's
example and a short training by the command.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

from vl_core.results import append_row, provenance

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def measure(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds and CPU seconds of a command, and the largest peak memory of a process so far in megabytes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": ""})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": perf_counter() - start, "cpu_seconds": cpu, "peak_mb": after.ru_maxrss / 1024}


def main() -> None:
    """Measure what a new user runs, in the order of growing memory."""
    example = re.findall(r"^```python\n(.*?)^```$", (HERE.parent / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "example.py").write_text("\n".join(example))
        for package in ("vl-core", "vl-rl"):
            build = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder / "dist"), f"packages/{package}"]
            subprocess.run(build, cwd=ROOT, check=True)
        python = str(folder / "env/bin/python")
        subprocess.run(["uv", "venv", "--quiet", str(folder / "env")], check=True)
        wheels = [str(path) for path in sorted((folder / "dist").glob("*.whl"))]
        steps = {
            "README example": [python, "example.py"],
            "vl-rl train --total-timesteps 2000": [str(folder / "env/bin/vl-rl"), "train", "--total-timesteps", "2000"],
        }
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *wheels], check=True)
        for step, command in steps.items():
            found = measure(command, folder)
            print(step, found)
            append_row(
                HERE / "first_run.csv", {"step": step, **{k: round(v, 1) for k, v in found.items()}, **provenance()}
            )


if __name__ == "__main__":
    main()
