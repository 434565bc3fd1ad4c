"""One command checks and times the kernels on a GPU, on a machine that has PyTorch and Triton and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

# Without what else this package depends on, and a little more.
PROGRAM = """
import runpy, sys
sys.modules.update(dict.fromkeys(["numpy", "PIL", "safetensors", "tqdm", "pytest", "pyarrow", "scipy"]))
sys.path.insert(0, sys.argv[1])
runpy.run_path(f"{sys.argv.pop(1)}/gpu.py", run_name="__main__")
"""


def test_gpu_entry_needs_pytorch_and_triton_alone_and_says_where_there_is_no_gpu():
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1] / "benchmarks")]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | hidden)
    assert process.stderr.endswith("gpu.py needs a GPU that PyTorch can use, and there is none here\n")
    assert process.returncode == 2
