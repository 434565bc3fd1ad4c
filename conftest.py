"""Which tests can run here: those on a GPU where there is one, those through Ray where it is installed, and those under
Triton's interpreter where it is on.
"""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what this process cannot run; the closing line counts it.

    Triton reads `TRITON_INTERPRET` when it is imported, so a process is interpreted or it is not, and tests of kernels
    on the CPU are a run of their own (`hatch run interpreter`).
    """
    missing = set()
    if not torch.cuda.is_available():
        missing.add("gpu")
    if importlib.util.find_spec("ray") is None:
        missing.add("ray")
    if os.environ.get("TRITON_INTERPRET") != "1":
        missing.add("interpreter")
    unable = [item for item in items if any(item.get_closest_marker(marker) for marker in missing)]
    if unable:
        config.hook.pytest_deselected(items=unable)
        items[:] = [item for item in items if item not in unable]
