"""Helper modules beside the tests, which `--import-mode=importlib` lets no test file import by name."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"vl_core_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# Triton 3.9 warns where this is not said, because 3.10 changes what it means.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

_DENSE = _load("dense_attention")
_DENSE_NOISE = _load("dense_noise")


@pytest.fixture(scope="session")
def dense() -> ModuleType:
    """The loss with whole maps, and a problem for each option."""
    return _DENSE


@pytest.fixture(scope="session")
def dense_noise() -> ModuleType:
    """Noisy images and errors with stored noise, and a problem for each kind of argument."""
    return _DENSE_NOISE


@pytest.fixture(scope="session")
def ahead_of_time() -> ModuleType:
    """Compiling kernels for GPUs that are not there."""
    return _load("ahead_of_time")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `every_option` of the loss, or `every_comparison` of noise, once for each."""
    if "every_option" in metafunc.fixturenames:
        metafunc.parametrize("every_option", _DENSE.NAMES)
    if "every_comparison" in metafunc.fixturenames:
        metafunc.parametrize("every_comparison", _DENSE_NOISE.COMPARISONS)
