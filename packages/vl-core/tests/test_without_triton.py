"""Everything but a Triton kernel itself works where Triton is not installed."""

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
sys.modules["triton"] = None  # importing it raises ModuleNotFoundError, as on a machine without it

import vl_core
modules = [module.name for module in pkgutil.walk_packages(vl_core.__path__, "vl_core.")]
for name in modules:
    # A kernel's own files are named triton…; they are imported when it is first launched.
    if not name.rpartition(".")[2].startswith("triton"):
        importlib.import_module(name)
assert {"vl_core.kernels", "vl_core.data", "vl_core.features", "vl_core.noise", "vl_core.runs"} <= set(modules)

import torch
from vl_core.features import knn_accuracy
from vl_core.noise import gaussian, make_keys

labels = torch.arange(20) % 2
features = gaussian(make_keys(0, torch.arange(20), 0), (4,)) + 10 * labels[:, None] * torch.tensor([1, -1, 1, -1])
assert knn_accuracy(features, labels, features, labels, k=1) == 1.0

from vl_core.kernels import attention_distillation

q = features.view(1, 1, 20, 4).requires_grad_()
attention_distillation(q, q, q.detach(), q.detach()).backward()
assert q.grad is not None
print("computed")
"""


def test_a_fresh_process_without_triton_imports_and_computes():
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert process.stdout == "computed\n", process.stderr
