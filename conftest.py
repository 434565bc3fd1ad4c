"""Tests that can run here: those on a GPU where there is one, those through Ray where it is installed, those under
Triton's interpreter where it is on, and slow ones where they are named. Workers of pytest-xdist have one thread each.
"""

from __future__ import annotations

import importlib.util
import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Keep everything off the hub, and give a worker of pytest-xdist, and every process that it starts, one thread.

    Two workers on two cores would otherwise run four threads that wait for one another. The libraries read the
    variables when they are first imported, which is later than this.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    import torch

    torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what this process cannot run; the closing line counts it.

    Triton reads `TRITON_INTERPRET` when it is imported, so a process is interpreted or it is not, and tests of kernels
    on the CPU are a run of their own (`hatch run interpreter`). Slow tests run where `-m` names them (`hatch run
    slow`).
    """
    import torch

    missing = set()
    if not torch.cuda.is_available():
        missing.add("gpu")
    if importlib.util.find_spec("ray") is None:
        missing.add("ray")
    if os.environ.get("TRITON_INTERPRET") != "1":
        missing.add("interpreter")
    if "slow" not in config.getoption("markexpr"):
        missing.add("slow")
    unable = [item for item in items if any(item.get_closest_marker(marker) for marker in missing)]
    if unable:
        config.hook.pytest_deselected(items=unable)
        items[:] = [item for item in items if item not in unable]
