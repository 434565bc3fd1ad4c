"""Importing any module of vl_core loads nothing that an extra brings."""

import json
import subprocess
import sys

HEAVY = ("accelerate", "datasets", "matplotlib", "pyarrow", "scipy", "tensorboard", "torchvision", "tyro")
PROGRAM = """
import importlib, json, pkgutil, sys

heavy = set(sys.argv[1:])
import vl_core
modules = ["vl_core", *(module.name for module in pkgutil.walk_packages(vl_core.__path__, "vl_core."))]
loaded = {}
for name in modules:
    # Triton's own files are imported when a kernel is first launched.
    if not name.rpartition(".")[2].startswith("triton"):
        before = heavy & sys.modules.keys()
        importlib.import_module(name)
        loaded[name] = sorted(heavy & sys.modules.keys() - before)
print(json.dumps(loaded))
"""


def test_no_module_loads_what_an_extra_brings():
    process = subprocess.run([sys.executable, "-c", PROGRAM, *HEAVY], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    loaded = json.loads(process.stdout)
    names = (
        *("charts", "cli", "corruptions", "data", "devices", "features", "intervals", "kernels", "noise"),
        *("results", "runs", "runs.append_only", "runs.processes", "tables", "training"),
    )
    assert {f"vl_core.{name}" for name in names} <= loaded.keys()
    assert {name: found for name, found in loaded.items() if found} == {}
