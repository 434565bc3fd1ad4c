"""Everything but a Triton kernel itself works where Triton is not installed."""

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
sys.modules["triton"] = None  # importing it raises ModuleNotFoundError, as on a machine without it

import vl_core
modules = [module.name for module in pkgutil.walk_packages(vl_core.__path__, "vl_core.")]
for name in modules:
    # A kernel's own file is named triton and is imported when first launched.
    if name.rpartition(".")[2] != "triton":
        importlib.import_module(name)
assert {"vl_core.data", "vl_core.features", "vl_core.noise", "vl_core.runs"} <= set(modules)

import torch
from vl_core.features import knn_accuracy
from vl_core.noise import gaussian, make_keys

labels = torch.arange(20) % 2
features = gaussian(make_keys(0, torch.arange(20), 0), (4,)) + 10 * labels[:, None] * torch.tensor([1, -1, 1, -1])
assert knn_accuracy(features, labels, features, labels, k=1) == 1.0
print("computed")
"""


def test_a_fresh_process_without_triton_imports_and_computes():
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert process.stdout == "computed\n", process.stderr
